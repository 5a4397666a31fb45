#include <atomic>

#include "../kernels.h"
#include "../simd/flat.h"
#include "flat_vectors.h"

namespace osc {

Status sophia_step(SophiaStepArgs& args, const Context& context) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"m", args.m}, {"h", args.h}}));
  if (size_of(args.clipped) != 1 || args.clipped.dtype != OSC_FLOAT64) {
    return fail(OSC_ARGUMENT, 0, "clipped must be one float64");
  }
  if (args.check_finite) OSC_TRY(check_finite({{"grad", args.grad}}, context));
  const SophiaStep step(args.lr, args.beta1, args.weight_decay, args.scale, args.hutchinson != 0);
  std::atomic<int64_t> clipped{0};
  each_flat_tile(size_of(args.theta), [&](int64_t start, int64_t count) {
    clipped += flat_simd().sophia(step, data<float>(args.grad) + start, data<float>(args.h) + start,
                                  data<float>(args.theta) + start, data<float>(args.m) + start, count);
  });
  *data<double>(args.clipped) = static_cast<double>(clipped.load());
  return ok();
}

}  // namespace osc
