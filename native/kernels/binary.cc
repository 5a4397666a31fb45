#include "../kernels.h"
#include "elementwise.h"
#include "elementwise_check.h"

namespace osc {

Status binary(BinaryArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &a = args.a, &b = args.b, &y = args.y;
  const Walk<2> walk({&a, &b});
  const bool done = with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto loop = elementwise().of<E>().binary[args.op];
    return each_run(walk, size_of(y), true, context, [&](int64_t position, int64_t count, const int64_t* offsets) {
      E copies[2][kElementRun];
      loop(run_of(data<E>(a) + offsets[0], walk.inner_stride(0), count, copies[0]),
           run_of(data<E>(b) + offsets[1], walk.inner_stride(1), count, copies[1]), data<E>(y) + position, count);
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
