#include "../simd/flat.h"
#include "vector_check.h"
#include "vector_parts.h"

namespace osc {

Status axpby(AxpbyArgs& args, const Context& context) {
  OSC_TRY(check_axpby(args));
  const Tensor &x = args.x, &y = args.y;
  const int64_t size = size_of(y);
  const bool given = size_of(x) > 0;
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
