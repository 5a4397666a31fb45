#include "common/ctc.cuh"
#include "kernels.h"

namespace osc {

Status ctc_loss_curvature(CtcLossCurvatureArgs& args, const Context&) {
  CtcBatch batch;
  OSC_TRY(check_ctc(args, {&args.x, &args.v, &args.y}, &batch));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_ctc_sequence(batch, CtcMovingValues<E>{data<E>(args.x), data<E>(args.v)}, data<E>(args.y),
                             static_cast<E*>(nullptr));
  });
}

}  // namespace osc
