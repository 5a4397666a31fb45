#include "../kernels.h"
#include "pool.h"

namespace osc {

Status avg_pool_backward(AvgPoolBackwardArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const PoolShape shape = pool_shape(args, args.dx, args.g);
  const bool done = with_real(args.g.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(shape.planes, shape.plane(), context, [&](int64_t first, int64_t end) {
      for (int64_t p = first; p < end; ++p) {
        const E* g = data<E>(args.g) + p * shape.places();
        E* dx = data<E>(args.dx) + p * shape.plane();
        std::fill_n(dx, shape.plane(), E(0));
        each_window(shape, [&](int64_t output, const PoolShape::Window& w) {
          const E share = static_cast<E>(static_cast<double>(g[output]) * shape.share(w, args.whole != 0));
          for (int64_t i = w.top; i < w.bottom; ++i) {
            for (int64_t j = w.left; j < w.right; ++j) dx[i * shape.width + j] += share;
          }
        });
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
