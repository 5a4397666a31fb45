#include "common/strided.cuh"
#include "core/scalar.h"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

template <class From, class To>
OSC_GLOBAL convert_all(const From* x, To* y, int64_t size) {
  for (int64_t i = global_thread(); i < size; i += global_threads()) y[i] = convert_element<To>(x[i]);
}

}  // namespace

Status convert(ConvertArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &y = args.y;
  const int64_t size = size_of(y), bytes = size * item_bytes(x.dtype);
  if (size == 0) return ok();
  if (x.dtype == y.dtype) return copy_bits(x, y.data);
  // A view is brought into order first: a second pass, and 72 small kernels instead of 72 large ones.
  DeviceBuffer<unsigned char> ordered(is_contiguous(x) ? 0 : bytes);
  if (!ordered) return ordered.status();
  if (!is_contiguous(x)) OSC_TRY(copy_bits(x, ordered.get()));
  const void* source = is_contiguous(x) ? x.data : ordered.get();
  return with_type(x.dtype, [&](auto from) {
    return with_type(y.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      return launch(convert_all<From, To>, grid_for(size, 1024), 256, 0, static_cast<const From*>(source), data<To>(y), size);
    });
  });
}

}  // namespace osc
