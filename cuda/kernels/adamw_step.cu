#include "common/flat.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

struct Pass {
  AdamwStep step;
  const float* grad;
  float *theta, *m, *v;
  __device__ void operator()(int64_t i) const { step(theta[i], grad[i], m[i], v[i]); }
};

}  // namespace

Status adamw_step(AdamwStepArgs& args, const Context&) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"m", args.m}, {"v", args.v}}));
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({{"grad", args.grad}}));
  const AdamwStep step(args.lr, args.beta1, args.beta2, args.eps, args.weight_decay, args.step);
  const Pass pass{step, data<float>(args.grad), data<float>(args.theta), data<float>(args.m), data<float>(args.v)};
  OSC_TRY(launch_each(pass, size_of(args.theta), guard.flags()));
  return guard.verdict();
}

}  // namespace osc
