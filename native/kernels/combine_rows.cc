#include "../simd/flat.h"
#include "vector_check.h"
#include "vector_parts.h"

namespace osc {

Status combine_rows(CombineRowsArgs& args, const Context& context) {
  OSC_TRY(check_combine_rows(args));
  const Tensor &c = args.coefficients, &x = args.x, &y = args.y;
  const int64_t rows = y.shape[0], terms = x.shape[0], size = x.shape[1];
  constexpr int64_t kPart = 1024;  // the sums of a part stay in the nearest cache
  const int64_t parts = (size + kPart - 1) / kPart;
  return with_real(x.dtype, [&](auto type) {
    using T = decltype(type);
    const bool done = parallel_for(parts, context, [&](int64_t part) {
      const int64_t start = part * kPart, count = std::min(kPart, size - start);
      double sums[kPart];
      for (int64_t row = 0; row < rows; ++row) {
        T* target = data<T>(y) + row * y.strides[0] + start;
        const double* factors = data<double>(c) + row * terms;
        for (int64_t i = 0; i < count; ++i) sums[i] = 0;
        if (args.beta != 0) vector_simd<T>().add_scaled(args.beta, target, sums, count);
        for (int64_t j = 0; j < terms; ++j) {
          vector_simd<T>().add_scaled(args.alpha * factors[j], data<T>(x) + j * x.strides[0] + start, sums, count);
        }
        for (int64_t i = 0; i < count; ++i) target[i] = static_cast<T>(sums[i]);
      }
    });
    return done ? ok() : aborted();
  });
}

}  // namespace osc
