#include <cmath>

#include "../kernels.h"
#include "rows.h"

namespace osc {

Status normalize(NormalizeArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &y = args.y;
  const int64_t outer = x.shape[0], count = x.shape[1], inner = x.shape[2];
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto& loops = rows().of<E>();
    return each_row_block(count, outer * inner, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const auto at = [&](const Tensor& t, int64_t o) { return data<E>(t) + (o * count + row) * inner; };
        const double n = static_cast<double>(outer * inner);
        double mean = 0, squares = 0;
        if (args.centred) {
          for (int64_t o = 0; o < outer; ++o) mean += loops.sum(at(x, o), inner);
          mean /= n;
        }
        const E centre = static_cast<E>(mean);
        for (int64_t o = 0; o < outer; ++o) squares += loops.deviation(at(x, o), centre, inner);
        const E inverse = static_cast<E>(1 / std::sqrt(squares / n + args.eps));
        for (int64_t o = 0; o < outer; ++o) loops.shift_scale(at(x, o), centre, inverse, at(y, o), inner);
        data<E>(args.mean)[row] = centre;
        data<E>(args.inverse_deviation)[row] = inverse;
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
