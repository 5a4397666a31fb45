#include <cmath>
#include <limits>

#include "../kernels.h"
#include "rows.h"

namespace osc {

Status softmax(SoftmaxArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &y = args.y;
  const int64_t length = x.shape[1], queries = args.causal_rows;
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto& loops = rows().of<E>();
    const E scale = static_cast<E>(args.scale);
    return each_row_block(x.shape[0], length, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const E* source = data<E>(x) + row * length;
        E* target = data<E>(y) + row * length;
        // Query i of q sees the keys up to i + length - q: the last query sees all.
        const int64_t seen = queries > 0 ? std::clamp<int64_t>(row % queries + 1 + length - queries, 0, length) : length;
        if (seen > 0) {
          const E shift = loops.largest(source, seen);
          const double sum = loops.exponential(source, shift, scale, target, seen);
          if (args.log) {
            loops.shift_scale(source, shift, scale, target, seen);
            loops.shift_scale(target, static_cast<E>(std::log(sum)), E(1), target, seen);
          } else {
            loops.shift_scale(target, E(0), static_cast<E>(1 / sum), target, seen);
          }
        }
        std::fill(target + seen, target + length, args.log ? -std::numeric_limits<E>::infinity() : E(0));
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
