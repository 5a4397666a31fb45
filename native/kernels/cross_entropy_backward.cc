#include "../kernels.h"
#include "rows.h"

namespace osc {

Status cross_entropy_backward(CrossEntropyBackwardArgs& args, const Context& context) {
  const Tensor &x = args.x, &target = args.target, &log_sum = args.log_sum, &weight = args.weight, &dx = args.dx;
  if (!is_matrix(x) || !is_matrix(dx) || x.dtype != dx.dtype || !same_shape(x, dx) ||
      !is_vector(target, OSC_INT32, x.shape[0]) || !is_vector(log_sum, x.dtype, x.shape[0]) ||
      !is_vector(weight, x.dtype, x.shape[0])) {
    return fail(OSC_ARGUMENT, 0, "x and dx must be matrices, target int32, log_sum and weight vectors of their dtype");
  }
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
