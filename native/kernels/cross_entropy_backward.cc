#include "../kernels.h"
#include "rows.h"

namespace osc {

Status cross_entropy_backward(CrossEntropyBackwardArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &target = args.target, &log_sum = args.log_sum, &weight = args.weight, &dx = args.dx;
  const int64_t classes = x.shape[1];
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto& loops = rows().of<E>();
    return each_row_block(x.shape[0], classes, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        E* result = data<E>(dx) + row * classes;
        const int32_t wanted = data<int32_t>(target)[row];
        // Other rows without a class were refused when the loss was computed.
        if ((args.ignore && wanted == args.ignore_index) || wanted < 0 || wanted >= classes) {
          std::fill(result, result + classes, E(0));
          continue;
        }
        const E w = data<E>(weight)[row];
        loops.exponential(data<E>(x) + row * classes, data<E>(log_sum)[row], E(1), result, classes);
        loops.shift_scale(result, E(0), w, result, classes);
        result[wanted] -= w;
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
