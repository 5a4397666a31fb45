#include "../kernels.h"
#include "pool.h"

namespace osc {

Status avg_pool_backward(AvgPoolBackwardArgs& args, const Context& context) {
  const PoolWindows<AvgPoolBackwardArgs> windows{args, args.dx, args.g};
  if (!windows.fit() || !is_real(args.g) || args.g.dtype != args.dx.dtype) {
    return fail(OSC_ARGUMENT, 0, "g and dx must be planes of one real dtype, windows and strides above 0");
  }
  const int64_t plane = args.dx.shape[1] * args.dx.shape[2], places = args.g.shape[1] * args.g.shape[2];
  const bool done = with_real(args.g.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(args.dx.shape[0], plane, context, [&](int64_t first, int64_t end) {
      for (int64_t p = first; p < end; ++p) {
        const E* g = data<E>(args.g) + p * places;
        E* dx = data<E>(args.dx) + p * plane;
        std::fill_n(dx, plane, E(0));
        windows.each([&](int64_t output, int64_t top, int64_t bottom, int64_t left, int64_t right) {
          const E share = static_cast<E>(static_cast<double>(g[output]) * windows.share(top, bottom, left, right));
          for (int64_t i = top; i < bottom; ++i) {
            for (int64_t j = left; j < right; ++j) dx[i * args.dx.shape[2] + j] += share;
          }
        });
      }
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
