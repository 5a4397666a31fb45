#include <atomic>

#include "../kernels.h"
#include "conv2d.h"

namespace osc {

Status conv2d_weight(Conv2dWeightArgs& args, const Context& context) {
  constexpr int64_t kMostParts = 8;  // sums of the batch that are added at the end, in order
  ConvPatches g;
  OSC_TRY(check(args, g));
  const int64_t parts = std::clamp<int64_t>(g.batch, 1, kMostParts), size = g.groups * g.filter();
  std::atomic<bool> enough{true};
  const bool done = with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    Buffer<E> sums((parts - 1) * size);  // the first part is summed in place
    if (!sums) {
      enough = false;
      return true;
    }
    const auto part_of = [&](int64_t part) { return part == 0 ? data<E>(args.dw) : sums.get() + (part - 1) * size; };
    const bool complete = parallel_for(parts * g.groups, context, [&](int64_t tile) {
      const int64_t part = tile / g.groups, group = tile % g.groups;
      E* dw = part_of(part) + group * g.filter();
      std::fill_n(dw, g.filter(), E(0));
      Buffer<E> patches;
      if (!g.plain()) {
        patches = Buffer<E>(g.taps() * g.places());
        if (!patches) {
          enough = false;
          return;
        }
      }
      for (int64_t n = g.batch * part / parts; n < g.batch * (part + 1) / parts && !cancelled(context); ++n) {
        const E* x = data<E>(args.x) + (n * g.groups + group) * g.image();
        if (!g.plain()) g.unfold(x, patches.get());
        gemm(CblasNoTrans, CblasTrans, g.outputs, g.taps(), g.places(), E(1),
             data<E>(args.g) + (n * g.groups + group) * g.result(), std::max<int64_t>(1, g.places()),
             g.plain() ? x : patches.get(), std::max<int64_t>(1, g.places()), E(1), dw, std::max<int64_t>(1, g.taps()));
      }
    });
    if (!complete || !enough) return complete;
    return each_row_block(size, parts, context, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; ++i) {
        double sum = 0;
        for (int64_t part = 0; part < parts; ++part) sum += static_cast<double>(part_of(part)[i]);
        data<E>(args.dw)[i] = static_cast<E>(sum);
      }
    });
  });
  if (!enough) return fail(OSC_OUT_OF_MEMORY, g.taps() * g.places(), "no memory for patches and partial sums");
  return done && !cancelled(context) ? ok() : aborted();
}

}  // namespace osc
