#include "common/gpu.cuh"
#include "core/scalar.h"
#include "kernels.h"

namespace osc {
namespace {

template <class T>
OSC_GLOBAL fill_all(T* y, int64_t size, T value) {
  for (int64_t i = global_thread(); i < size; i += global_threads()) y[i] = value;
}

}  // namespace

Status fill(FillArgs& args, const Context&) {
  const Tensor& y = args.y;
  if (!is_contiguous(y)) return fail(OSC_ARGUMENT, 0, "y must be contiguous");
  const int64_t size = size_of(y);
  if (size == 0) return ok();
  return with_type(y.dtype, [&](auto to) {
    using To = decltype(to);
    return launch(fill_all<To>, grid_for(size, 1024), 256, 0, data<To>(y), size, convert_element<To>(args.value));
  });
}

}  // namespace osc
