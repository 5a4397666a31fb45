#include "common/flat.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

struct Plain {
  AdafisherStep step;
  const float* grad;
  float *theta, *m;
  __device__ void operator()(int64_t i) const { step(theta[i], grad[i], m[i]); }
};

struct Scaled {
  AdafisherStep step;
  const float *grad, *rows, *columns;
  float *theta, *m;
  int64_t width;
  __device__ void operator()(int64_t i) const { step(theta[i], grad[i], m[i], rows[i / width], columns[i % width]); }
};

}  // namespace

Status adafisher_step(AdafisherStepArgs& args, const Context&) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"m", args.m}}));
  const int64_t size = size_of(args.theta);
  OSC_TRY(check_factors(args.rows, args.columns, size));
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({{"grad", args.grad}}));
  const AdafisherStep step(args.lr, args.beta, args.damping, args.weight_decay, args.l2 != 0, args.step);
  const float* grad = data<float>(args.grad);
  float *theta = data<float>(args.theta), *m = data<float>(args.m);
  if (given(args.rows)) {
    const Scaled pass{step, grad, data<float>(args.rows), data<float>(args.columns), theta, m, size_of(args.columns)};
    OSC_TRY(launch_each(pass, size, guard.flags()));
  } else {
    OSC_TRY(launch_each(Plain{step, grad, theta, m}, size, guard.flags()));
  }
  return guard.verdict();
}

}  // namespace osc
