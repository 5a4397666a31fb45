#include "../kernels.h"
#include "pool.h"

namespace osc {

Status max_pool(MaxPoolArgs& args, const Context& context) {
  const PoolWindows<MaxPoolArgs> windows{args, args.x, args.index};
  if (!windows.fit() || !is_real(args.x) || args.index.dtype != OSC_INT32) {
    return fail(OSC_ARGUMENT, 0, "x must be real planes, index int32, windows and strides above 0");
  }
  const int64_t width = args.x.shape[2], plane = args.x.shape[1] * width, places = args.index.shape[1] * args.index.shape[2];
  const bool done = with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_row_block(args.x.shape[0], plane, context, [&](int64_t first, int64_t end) {
      for (int64_t p = first; p < end; ++p) {
        const E* x = data<E>(args.x) + p * plane;
        int32_t* index = data<int32_t>(args.index) + p * places;
        windows.each([&](int64_t output, int64_t top, int64_t bottom, int64_t left, int64_t right) {
          int64_t best = top * width + left;
          for (int64_t i = top; i < bottom; ++i) {
            for (int64_t j = left; j < right; ++j) {
              const E value = x[i * width + j], most = x[best];
              if (value > most || (value != value && most == most)) best = i * width + j;  // the first NaN wins
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
