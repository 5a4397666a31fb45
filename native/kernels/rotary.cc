#include <cmath>

#include "../kernels.h"
#include "rows.h"

namespace osc {

Status rotary(RotaryArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &cosine = args.cosine, &sine = args.sine, &y = args.y;
  const int64_t places = x.shape[1], width = x.shape[2], pairs = cosine.shape[1];
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const E sign = args.inverse ? E(-1) : E(1);
    // The two elements of pair i: neighbours, or half of the turned part away.
    const int64_t step = args.interleaved ? 2 : 1, other = args.interleaved ? 1 : pairs;
    return each_row_block(x.shape[0] * places, width, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const E *from = data<E>(x) + row * width, *c = data<E>(cosine) + row % places * pairs;
        const E* s = data<E>(sine) + row % places * pairs;
        E* to = data<E>(y) + row * width;
        for (int64_t i = 0; i < pairs; ++i) {
          const E a = from[i * step], b = from[i * step + other], turn = sign * s[i];
          to[i * step] = a * c[i] - b * turn;
          to[i * step + other] = b * c[i] + a * turn;
        }
        std::copy(from + 2 * pairs, from + width, to + 2 * pairs);
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
