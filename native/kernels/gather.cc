#include <atomic>
#include <cstring>

#include "../kernels.h"
#include "rows.h"

namespace osc {

Status gather(GatherArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &index = args.index, &y = args.y;
  const int64_t n = x.shape[1], m = index.shape[1], inner = x.shape[2];
  std::atomic<int64_t> bad{-1};
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(x.shape[0] * m, inner, context, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; ++row) {
        const int64_t o = row / m, j = row % m, at = index.shape[0] == 1 ? j : row;
        const int64_t from = data<int32_t>(index)[at];
        if (from < 0 || from >= n) {
          bad = at;
          continue;
        }
        const E* source = data<E>(x) + (o * n + from) * inner;
        E* target = data<E>(y) + row * inner;
        if (inner == 1) *target = *source;
        else std::memcpy(target, source, static_cast<size_t>(inner) * sizeof(E));
      }
    });
  });
  if (!done) return aborted();
  if (bad >= 0) return index_out_of_range(bad, data<int32_t>(index)[bad], n);
  return ok();
}

}  // namespace osc
