#include "../kernels.h"
#include "../simd/flat.h"
#include "vector_parts.h"

namespace osc {

Status axpby(AxpbyArgs& args, const Context& context) {
  const Tensor &x = args.x, &y = args.y;
  const int64_t size = size_of(y);
  const bool given = size_of(x) > 0;
  if (!is_contiguous(y) || (given && (!is_contiguous(x) || size_of(x) != size || x.dtype != y.dtype))) {
    return fail(OSC_ARGUMENT, 0, "x and y must be contiguous, of one size and dtype");
  }
  return with_real(y.dtype, [&](auto type) {
    using T = decltype(type);
    const bool done = parallel_for(parts_of(size), context, [&](int64_t part) {
      const int64_t start = part * kVectorPart;
      vector_simd<T>().axpby(static_cast<T>(args.a), given ? data<T>(x) + start : nullptr, static_cast<T>(args.b),
                             data<T>(y) + start, std::min(kVectorPart, size - start));
    });
    return done ? ok() : aborted();
  });
}

}  // namespace osc
