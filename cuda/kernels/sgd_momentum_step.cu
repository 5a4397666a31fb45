#include "common/flat.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

struct Pass {
  SgdStep step;
  const float* grad;
  float *theta, *buffer;
  __device__ void operator()(int64_t i) const { step(theta[i], grad[i], buffer[i]); }
};

}  // namespace

Status sgd_momentum_step(SgdMomentumStepArgs& args, const Context&) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"buffer", args.buffer}}));
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({{"grad", args.grad}}));
  const SgdStep step{static_cast<float>(args.lr), static_cast<float>(args.momentum), static_cast<float>(args.weight_decay),
                     args.nesterov != 0};
  const Pass pass{step, data<float>(args.grad), data<float>(args.theta), data<float>(args.buffer)};
  OSC_TRY(launch_each(pass, size_of(args.theta), guard.flags()));
  return guard.verdict();
}

}  // namespace osc
