#include "../kernels.h"
#include "pool.h"

namespace osc {

Status max_pool(MaxPoolArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const PoolShape shape = pool_shape(args, args.x, args.index);
  const bool done = with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(shape.planes, shape.plane(), context, [&](int64_t first, int64_t end) {
      for (int64_t p = first; p < end; ++p) {
        const E* x = data<E>(args.x) + p * shape.plane();
        int32_t* index = data<int32_t>(args.index) + p * shape.places();
        each_window(shape, [&](int64_t output, const PoolShape::Window& w) {
          int64_t best = w.top * shape.width + w.left;
          for (int64_t i = w.top; i < w.bottom; ++i) {
            for (int64_t j = w.left; j < w.right; ++j) {
              const E value = x[i * shape.width + j], most = x[best];
              if (value > most || (value != value && most == most)) best = i * shape.width + j;  // the first NaN wins
            }
          }
          index[output] = static_cast<int32_t>(best);
        });
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
