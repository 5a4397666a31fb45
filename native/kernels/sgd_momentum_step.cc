#include "../kernels.h"
#include "../simd/flat.h"
#include "flat_vectors.h"

namespace osc {

Status sgd_momentum_step(SgdMomentumStepArgs& args, const Context& context) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"buffer", args.buffer}}));
  if (args.check_finite) OSC_TRY(check_finite({{"grad", args.grad}}, context));
  const SgdStep step{static_cast<float>(args.lr), static_cast<float>(args.momentum), static_cast<float>(args.weight_decay),
                     args.nesterov != 0};
  each_flat_tile(size_of(args.theta), [&](int64_t start, int64_t count) {
    flat_simd().sgd(step, data<float>(args.grad) + start, data<float>(args.theta) + start, data<float>(args.buffer) + start,
                    count);
  });
  return ok();
}

}  // namespace osc
