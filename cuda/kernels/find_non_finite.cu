#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/finite.h"
#include "kernels.h"

namespace osc {
namespace {

struct Found {
  unsigned long long first, count;
};

// Sums and minima of integers: the order of the atomics does not matter.
template <class T>
OSC_GLOBAL find_all(const T* x, int64_t size, Found* found) {
  OSC_SHARED(unsigned long long, first);
  OSC_SHARED(unsigned long long, count);
  if (threadIdx.x == 0) {
    first = static_cast<unsigned long long>(size);
    count = 0;
  }
  __syncthreads();
  unsigned long long here = static_cast<unsigned long long>(size), seen = 0;
  for (int64_t i = global_thread(); i < size; i += global_threads()) {
    if (is_finite(x[i])) continue;
    here = min(here, static_cast<unsigned long long>(i));
    ++seen;
  }
  if (seen) {
    atomicMin(&first, here);
    atomicAdd(&count, seen);
  }
  __syncthreads();
  if (threadIdx.x == 0 && count) {
    atomicMin(&found->first, first);
    atomicAdd(&found->count, count);
  }
}

}  // namespace

Status find_non_finite(FindNonFiniteArgs& args, const Context&) {
  const Tensor& x = args.x;
  if (!is_contiguous(x)) return fail(OSC_ARGUMENT, 0, "x must be contiguous");
  if (x.dtype != OSC_FLOAT32 && x.dtype != OSC_FLOAT64) return fail(OSC_ARGUMENT, 0, "x must be float32 or float64");
  const int64_t size = size_of(x);
  Found found{static_cast<unsigned long long>(size), 0};
  if (size > 0) {
    DeviceBuffer<Found> result(1);
    if (!result) return result.status();
    OSC_TRY(copy_to_device(result.get(), &found, sizeof found));
    const dim3 grid = grid_for(size, 4096);
    OSC_TRY(x.dtype == OSC_FLOAT32 ? launch(find_all<float>, grid, 256, 0, data<float>(x), size, result.get())
                                   : launch(find_all<double>, grid, 256, 0, data<double>(x), size, result.get()));
    OSC_TRY(read_value(result.get(), &found));
  }
  args.count = static_cast<int64_t>(found.count);
  args.index = found.count ? static_cast<int64_t>(found.first) : -1;
  return ok();
}

}  // namespace osc
