#include "../kernels.h"
#include "pool.h"

namespace osc {

Status avg_pool(AvgPoolArgs& args, const Context& context) {
  const PoolWindows<AvgPoolArgs> windows{args, args.x, args.y};
  if (!windows.fit() || !is_real(args.x) || args.x.dtype != args.y.dtype) {
    return fail(OSC_ARGUMENT, 0, "x and y must be planes of one real dtype, windows and strides above 0");
  }
  const int64_t plane = args.x.shape[1] * args.x.shape[2], places = args.y.shape[1] * args.y.shape[2];
  const bool done = with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(args.x.shape[0], plane, context, [&](int64_t first, int64_t end) {
      for (int64_t p = first; p < end; ++p) {
        const E* x = data<E>(args.x) + p * plane;
        E* y = data<E>(args.y) + p * places;
        windows.each([&](int64_t output, int64_t top, int64_t bottom, int64_t left, int64_t right) {
          double sum = 0;
          for (int64_t i = top; i < bottom; ++i) {
            for (int64_t j = left; j < right; ++j) sum += static_cast<double>(x[i * args.x.shape[2] + j]);
          }
          y[output] = static_cast<E>(sum * windows.share(top, bottom, left, right));
        });
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
