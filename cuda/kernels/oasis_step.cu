#include "common/flat.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

struct Pass {
  OasisStep step;
  const float *grad, *diagonal;
  float *theta, *m, *curvature;
  __device__ void operator()(int64_t i) const {
    if (m) {
      step(theta[i], grad[i], diagonal[i], m[i], curvature[i]);
    } else {
      step.along(theta[i], grad[i], diagonal[i], curvature[i]);
    }
  }
};

}  // namespace

Status oasis_step(OasisStepArgs& args, const Context&) {
  const NamedVector theta{"theta", args.theta}, grad{"grad", args.grad}, diagonal{"diagonal", args.diagonal};
  const NamedVector curvature{"curvature", args.curvature}, m{"m", args.m};
  const bool averaged = size_of(args.m) > 0;
  OSC_TRY(averaged ? check_flat({theta, grad, diagonal, curvature, m}) : check_flat({theta, grad, diagonal, curvature}));
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({grad, diagonal}));
  const OasisStep step(args.lr, args.beta1, args.beta2, args.alpha, args.weight_decay, args.step);
  const Pass pass{step,
                  data<float>(args.grad),
                  data<float>(args.diagonal),
                  data<float>(args.theta),
                  averaged ? data<float>(args.m) : nullptr,
                  data<float>(args.curvature)};
  OSC_TRY(launch_each(pass, size_of(args.theta), guard.flags()));
  return guard.verdict();
}

}  // namespace osc
