#include <atomic>

#include "../kernels.h"
#include "conv2d.h"

namespace osc {

Status conv2d_input(Conv2dInputArgs& args, const Context& context) {
  ConvPatches g;
  OSC_TRY(check(args, g));
  std::atomic<bool> enough{true};
  const bool done = with_real(args.g.dtype, [&](auto zero) {
    using E = decltype(zero);
    return parallel_for(g.batch * g.groups, context, [&](int64_t tile) {
      E* dx = data<E>(args.dx) + tile * g.image();
      Buffer<E> patches;
      if (!g.plain()) {
        patches = Buffer<E>(g.taps() * g.places());
        if (!patches) {
          enough = false;
          return;
        }
      }
      gemm(CblasTrans, CblasNoTrans, g.taps(), g.places(), g.outputs, E(1), data<E>(args.w) + tile % g.groups * g.filter(),
           std::max<int64_t>(1, g.taps()), data<E>(args.g) + tile * g.result(), std::max<int64_t>(1, g.places()), E(0),
           g.plain() ? dx : patches.get(), std::max<int64_t>(1, g.places()));
      if (g.plain()) return;
      std::fill_n(dx, g.image(), E(0));
      g.fold(patches.get(), dx);
    });
  });
  if (!done) return aborted();
  return enough ? ok() : fail(OSC_OUT_OF_MEMORY, g.taps() * g.places(), "no memory for the patches of an image");
}

}  // namespace osc
