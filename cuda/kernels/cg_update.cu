#include "common/flat.cuh"
#include "common/reduce.cuh"
#include "kernels/vector_check.h"

namespace osc {
namespace {

template <class T>
OSC_GLOBAL update(T alpha, const T* p, const T* ap, T* x, T* r, int64_t size, double* partials) {
  double sum = 0;
  for (int64_t i = global_thread(); i < size; i += global_threads()) {
    x[i] = multiply_add(alpha, p[i], x[i]);
    const T next = multiply_add(-alpha, ap[i], r[i]);
    r[i] = next;
    sum = fma(static_cast<double>(next), static_cast<double>(next), sum);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

}  // namespace

Status cg_update(CgUpdateArgs& args, const Context&) {
  OSC_TRY(check_cg_update(args));
  const int64_t size = size_of(args.x);
  const unsigned blocks = grid_for(size, 4 * kFlatThreads);
  DeviceBuffer<double> partials(blocks);
  if (!partials) return partials.status();
  return with_real(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    OSC_TRY(launch(update<T>, blocks, kFlatThreads, 0, static_cast<T>(args.alpha), data<T>(args.p), data<T>(args.ap),
                   data<T>(args.x), data<T>(args.r), size, partials.get()));
    return finish_partials(partials.get(), blocks, 0.0, Sum(), data<double>(args.rr));
  });
}

}  // namespace osc
