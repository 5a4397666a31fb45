#include "../kernels.h"
#include "rows.h"

namespace osc {

Status argmax(ArgmaxArgs& args, const Context& context) {
  const Tensor &x = args.x, &index = args.index;
  if (!is_matrix(x) || x.shape[1] < 1 || !is_vector(index, OSC_INT32, x.shape[0])) {
    return fail(OSC_ARGUMENT, 0, "x must be a matrix with columns, index int32 [rows]");
  }
  const int64_t n = x.shape[1];
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(x.shape[0], n, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const E* values = data<E>(x) + row * n;
        int64_t best = 0;
        for (int64_t i = 1; i < n; ++i) {
          if (values[i] > values[best] || (values[i] != values[i] && values[best] == values[best])) best = i;
        }
        data<int32_t>(index)[row] = static_cast<int32_t>(best);
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
