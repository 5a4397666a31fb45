#include "../kernels.h"
#include "rows.h"

namespace osc {

Status normalize_backward(NormalizeBackwardArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &y = args.y, &g = args.g, &dx = args.dx;
  const int64_t outer = y.shape[0], count = y.shape[1], inner = y.shape[2];
  const bool done = with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto& loops = rows().of<E>();
    return each_row_block(count, outer * inner, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const auto at = [&](const Tensor& t, int64_t o) { return data<E>(t) + (o * count + row) * inner; };
        const double n = static_cast<double>(outer * inner);
        double mean = 0, slope = 0;
        for (int64_t o = 0; o < outer; ++o) {
          if (args.centred) mean += loops.sum(at(g, o), inner);
          slope += loops.dot(at(g, o), at(y, o), inner);
        }
        const double inverse = static_cast<double>(data<E>(args.inverse_deviation)[row]);
        for (int64_t o = 0; o < outer; ++o) {
          loops.combine(at(g, o), static_cast<E>(inverse), at(y, o), static_cast<E>(-inverse * slope / n),
                        static_cast<E>(-inverse * mean / n), at(dx, o), inner);
        }
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
