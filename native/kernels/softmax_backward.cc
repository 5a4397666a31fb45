#include "../kernels.h"
#include "rows.h"

namespace osc {

Status softmax_backward(SoftmaxBackwardArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &y = args.y, &g = args.g, &dx = args.dx;
  const int64_t length = y.shape[1];
  const bool done = with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto& loops = rows().of<E>();
    return each_row_block(y.shape[0], length, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const E *values = data<E>(y) + row * length, *cotangents = data<E>(g) + row * length;
        E* target = data<E>(dx) + row * length;
        const E scale = static_cast<E>(args.scale);
        if (args.log) {
          const E sum = static_cast<E>(loops.sum(cotangents, length));
          loops.exponential(values, E(0), E(1), target, length);
          loops.combine(cotangents, scale, target, -scale * sum, E(0), target, length);
        } else {
          loops.multiply(values, cotangents, static_cast<E>(loops.dot(values, cotangents, length)), scale, target, length);
        }
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
