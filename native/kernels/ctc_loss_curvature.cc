#include "../kernels.h"
#include "ctc_on_cpu.h"

namespace osc {

Status ctc_loss_curvature(CtcLossCurvatureArgs& args, const Context& context) {
  CtcBatch batch;
  OSC_TRY(check_ctc(args, {&args.x, &args.v, &args.y}, &batch));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_ctc_sequence(batch, CtcMovingValues<E>{data<E>(args.x), data<E>(args.v)}, data<E>(args.y), context,
                             [](int64_t, CtcMovingLog) {});
  });
}

}  // namespace osc
