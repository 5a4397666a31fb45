#include "common/flat.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

struct Pass {
  InnapropStep step;
  const float* grad;
  float *theta, *lag, *v;
  __device__ void operator()(int64_t i) const { step(theta[i], grad[i], lag[i], v[i]); }
};

}  // namespace

Status innaprop_step(InnapropStepArgs& args, const Context&) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"lag", args.lag}, {"v", args.v}}));
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({{"grad", args.grad}}));
  const InnapropStep step(args.lr, args.alpha, args.beta, args.sigma, args.eps, args.weight_decay, args.step);
  const Pass pass{step, data<float>(args.grad), data<float>(args.theta), data<float>(args.lag), data<float>(args.v)};
  OSC_TRY(launch_each(pass, size_of(args.theta), guard.flags()));
  return guard.verdict();
}

}  // namespace osc
