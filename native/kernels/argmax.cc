#include "../kernels.h"
#include "rows.h"

namespace osc {

Status argmax(ArgmaxArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &index = args.index;
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
