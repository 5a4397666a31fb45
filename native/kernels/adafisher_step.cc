#include "../kernels.h"
#include "../simd/flat.h"
#include "flat_vectors.h"

namespace osc {

Status adafisher_step(AdafisherStepArgs& args, const Context& context) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"m", args.m}}));
  OSC_TRY(check_factors(args.rows, args.columns, size_of(args.theta)));
  if (args.check_finite) OSC_TRY(check_finite({{"grad", args.grad}}, context));
  const AdafisherStep step(args.lr, args.beta, args.damping, args.weight_decay, args.l2 != 0, args.step);
  MatrixPart matrix{};
  if (given(args.rows)) matrix = {data<float>(args.rows), data<float>(args.columns), 0, size_of(args.columns)};
  each_flat_tile(size_of(args.theta), [&](int64_t start, int64_t count) {
    MatrixPart part = matrix;
    part.first = start;
    flat_simd().adafisher(step, data<float>(args.grad) + start, part, data<float>(args.theta) + start,
                          data<float>(args.m) + start, count);
  });
  return ok();
}

}  // namespace osc
