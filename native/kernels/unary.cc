#include "../kernels.h"
#include "elementwise.h"
#include "elementwise_check.h"

namespace osc {

Status unary(UnaryArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &weight = args.weight, &y = args.y;
  const bool weighted = weight.data != nullptr;
  const Walk<2> walk({&x, weighted ? &weight : &x});
  const bool done = with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto loop = elementwise().of<E>().unary[args.op][args.order];
    return each_run(walk, size_of(y), false, context, [&](int64_t position, int64_t count, const int64_t* offsets) {
      E copies[2][kElementRun];
      const E* from = contiguous_run(data<E>(x) + offsets[0], walk.inner_stride(0), count, copies[0]);
      const E* scale = nullptr;
      if (weighted) scale = contiguous_run(data<E>(weight) + offsets[1], walk.inner_stride(1), count, copies[1]);
      loop(from, scale, data<E>(y) + position, count, args.alpha, args.beta);
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
