#include "conv2d.h"

#include <atomic>

#include "../kernels.h"

namespace osc {

Status conv2d(Conv2dArgs& args, const Context& context) {
  ConvPatches g;
  OSC_TRY(check(args, g));
  std::atomic<bool> enough{true};
  const bool done = with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return parallel_for(g.batch * g.groups, context, [&](int64_t tile) {
      const E* x = data<E>(args.x) + tile * g.image();
      Buffer<E> patches;
      if (!g.plain()) {
        patches = Buffer<E>(g.taps() * g.places());
        if (!patches) {
          enough = false;
          return;
        }
        g.unfold(x, patches.get());
      }
      gemm(CblasNoTrans, CblasNoTrans, g.outputs, g.places(), g.taps(), E(1), data<E>(args.w) + tile % g.groups * g.filter(),
           std::max<int64_t>(1, g.taps()), g.plain() ? x : patches.get(), std::max<int64_t>(1, g.places()), E(0),
           data<E>(args.y) + tile * g.result(), std::max<int64_t>(1, g.places()));
    });
  });
  if (!done) return aborted();
  return enough ? ok() : fail(OSC_OUT_OF_MEMORY, g.taps() * g.places(), "no memory for the patches of an image");
}

}  // namespace osc
