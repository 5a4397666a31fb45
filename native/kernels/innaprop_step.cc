#include "../kernels.h"
#include "../simd/flat.h"
#include "flat_vectors.h"

namespace osc {

Status innaprop_step(InnapropStepArgs& args, const Context& context) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"lag", args.lag}, {"v", args.v}}));
  if (args.check_finite) OSC_TRY(check_finite({{"grad", args.grad}}, context));
  const InnapropStep step(args.lr, args.alpha, args.beta, args.sigma, args.eps, args.weight_decay, args.step);
  each_flat_tile(size_of(args.theta), [&](int64_t start, int64_t count) {
    flat_simd().innaprop(step, data<float>(args.grad) + start, data<float>(args.theta) + start,
                         data<float>(args.lag) + start, data<float>(args.v) + start, count);
  });
  return ok();
}

}  // namespace osc
