#include "common/diagonal.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

template <class E, class Raise>
struct Pass {
  AdaHessianStep step;
  E estimate;
  const float* grad;
  float *theta, *m, *v;
  __device__ void operator()(int64_t i) const {
    step.update(theta[i], grad[i], estimate_at(estimate, i), m[i], v[i], Raise{});
  }
};

}  // namespace

Status adahessian_step(AdahessianStepArgs& args, const Context&) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"diagonal", args.diagonal}, {"m", args.m}, {"v", args.v}}));
  const int64_t size = size_of(args.theta);
  DeviceAveraging averaging;
  OSC_TRY(averaging.plan(args.segments, size));
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({{"grad", args.grad}, {"diagonal", args.diagonal}}));
  const AdaHessianStep step(args.lr, args.beta1, args.beta2, args.eps, args.weight_decay, args.hessian_power,
                            args.min_denominator, args.step);
  const DiagonalEstimate<DiagonalKind::kAbsolute> absolute{data<float>(args.diagonal), nullptr, 0};
  OSC_TRY(averaging.with(absolute, [&](const auto& estimate) {
    const auto pass = [&](auto raise) {
      using Estimate = std::remove_const_t<std::remove_reference_t<decltype(estimate)>>;
      const Pass<Estimate, decltype(raise)> all{step, estimate, data<float>(args.grad), data<float>(args.theta),
                                                data<float>(args.m), data<float>(args.v)};
      return launch_each(all, size, guard.flags());
    };
    if (step.power == 1.0F) return pass(RaiseOne{});
    if (step.power == 0.5F) return pass(RaiseHalf{});
    return pass(RaiseAny{});
  }));
  return guard.verdict();
}

}  // namespace osc
