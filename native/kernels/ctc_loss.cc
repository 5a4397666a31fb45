#include "../kernels.h"
#include "ctc_on_cpu.h"

namespace osc {

Status ctc_loss(CtcLossArgs& args, const Context& context) {
  CtcBatch batch;
  OSC_TRY(check_ctc(args, {&args.x, &args.slope}, &batch));
  if (args.loss.rank != 1 || args.loss.shape[0] != batch.sequences || args.loss.dtype != args.x.dtype || !is_contiguous(args.loss)) {
    return fail(OSC_ARGUMENT, 0, "loss must be a vector of the dtype of x, one for each sequence");
  }
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return each_ctc_sequence(batch, CtcValues<E>{data<E>(args.x)}, data<E>(args.slope), context,
                             [&](int64_t n, CtcLog all) { data<E>(args.loss)[n] = static_cast<E>(-all.value); });
  });
}

}  // namespace osc
