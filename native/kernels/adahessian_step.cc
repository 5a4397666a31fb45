#include "../kernels.h"
#include "averaging.h"
#include "flat_vectors.h"

namespace osc {

Status adahessian_step(AdahessianStepArgs& args, const Context& context) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"diagonal", args.diagonal}, {"m", args.m}, {"v", args.v}}));
  const int64_t size = size_of(args.theta);
  Averaging averaging;
  OSC_TRY(averaging.plan(args.segments, size));
  if (args.check_finite) OSC_TRY(check_finite({{"grad", args.grad}, {"diagonal", args.diagonal}}, context));
  const AdaHessianStep step(args.lr, args.beta1, args.beta2, args.eps, args.weight_decay, args.hessian_power,
                            args.min_denominator, args.step);
  const float *grad = data<float>(args.grad), *diagonal = data<float>(args.diagonal);
  float *theta = data<float>(args.theta), *m = data<float>(args.m), *v = data<float>(args.v);
  if (!averaging.averages()) {  // d enters squared: no sign to take off
    each_flat_tile(size, [&](int64_t start, int64_t count) {
      flat_simd().adahessian(step, grad + start, diagonal + start, theta + start, m + start, v + start, count);
    });
    return ok();
  }
  const auto absolute = [&](int64_t start, int64_t count, float* d) {
    flat_simd().diagonal(DiagonalKind::kAbsolute, {}, 0, diagonal + start, nullptr, d, count);
  };
  OSC_TRY(averaging.measure(context, absolute));
  parallel_for(averaging.tiles(), kNotCancelled, [&](int64_t tile) {
    averaging.each(tile, absolute, [&](const Averaging::Piece& piece, const float* d) {
      const int64_t i = piece.start;
      flat_simd().adahessian(step, grad + i, d, theta + i, m + i, v + i, piece.end - i);
    });
  });
  return ok();
}

}  // namespace osc
