#include "../kernels.h"
#include "pool.h"

namespace osc {

Status avg_pool(AvgPoolArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const PoolShape shape = pool_shape(args, args.x, args.y);
  const bool done = with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(shape.planes, shape.plane(), context, [&](int64_t first, int64_t end) {
      for (int64_t p = first; p < end; ++p) {
        const E* x = data<E>(args.x) + p * shape.plane();
        E* y = data<E>(args.y) + p * shape.places();
        each_window(shape, [&](int64_t output, const PoolShape::Window& w) {
          double sum = 0;
          for (int64_t i = w.top; i < w.bottom; ++i) {
            for (int64_t j = w.left; j < w.right; ++j) sum += static_cast<double>(x[i * shape.width + j]);
          }
          y[output] = static_cast<E>(sum * shape.share(w, args.whole != 0));
        });
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
