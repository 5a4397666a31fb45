#include "../kernels.h"
#include "../simd/flat.h"
#include "flat_vectors.h"

namespace osc {

Status oasis_step(OasisStepArgs& args, const Context& context) {
  const NamedVector theta{"theta", args.theta}, grad{"grad", args.grad}, diagonal{"diagonal", args.diagonal};
  const NamedVector curvature{"curvature", args.curvature}, m{"m", args.m};
  const bool averaged = size_of(args.m) > 0;
  OSC_TRY(averaged ? check_flat({theta, grad, diagonal, curvature, m}) : check_flat({theta, grad, diagonal, curvature}));
  if (args.check_finite) OSC_TRY(check_finite({grad, diagonal}, context));
  const OasisStep step(args.lr, args.beta1, args.beta2, args.alpha, args.weight_decay, args.step);
  each_flat_tile(size_of(args.theta), [&](int64_t start, int64_t count) {
    flat_simd().oasis(step, data<float>(args.grad) + start, data<float>(args.diagonal) + start,
                      data<float>(args.theta) + start, averaged ? data<float>(args.m) + start : nullptr,
                      data<float>(args.curvature) + start, count);
  });
  return ok();
}

}  // namespace osc
