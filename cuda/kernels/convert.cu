#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/scalar.h"
#include "kernels.h"

namespace osc {
namespace {

// Where logical position `position` of a view is, in elements from its first.
__device__ int64_t offset_in(const Tensor& x, int64_t position) {
  int64_t offset = 0;
  for (int d = x.rank - 1; d >= 0; --d) {
    offset += position % x.shape[d] * x.strides[d];
    position /= x.shape[d];
  }
  return offset;
}

template <class To, class From>
OSC_GLOBAL convert_flat(const From* x, To* y, int64_t size) {
  for (int64_t i = global_thread(); i < size; i += global_threads()) y[i] = convert_element<To>(x[i]);
}

template <class To, class From>
OSC_GLOBAL convert_strided(Tensor x, To* y, int64_t size) {
  const From* source = static_cast<const From*>(x.data);
  for (int64_t i = global_thread(); i < size; i += global_threads()) y[i] = convert_element<To>(source[offset_in(x, i)]);
}

}  // namespace

Status convert(ConvertArgs& args, const Context&) {
  const Tensor &x = args.x, &y = args.y;
  const int64_t size = size_of(y);
  if (size_of(x) != size || !is_contiguous(y)) return fail(OSC_ARGUMENT, 0, "x and y must have one shape, y contiguous");
  if (size == 0) return ok();
  const bool flat = is_contiguous(x);
  if (flat && x.dtype == y.dtype) return copy_on_device(y.data, x.data, size * item_bytes(y.dtype));
  return with_type(x.dtype, [&](auto from) {
    using From = decltype(from);
    return with_type(y.dtype, [&](auto to) {
      using To = decltype(to);
      const dim3 grid = grid_for(size, 1024);
      return flat ? launch(convert_flat<To, From>, grid, 256, 0, data<From>(x), data<To>(y), size)
                  : launch(convert_strided<To, From>, grid, 256, 0, x, data<To>(y), size);
    });
  });
}

}  // namespace osc
