#include "../kernels.h"
#include "elementwise.h"
#include "elementwise_check.h"

namespace osc {

Status select(SelectArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &condition = args.condition, &a = args.a, &b = args.b, &y = args.y;
  const Walk<3> walk({&condition, &a, &b});
  const bool done = with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto loop = elementwise().of<E>().select;
    return each_run(walk, size_of(y), true, context, [&](int64_t position, int64_t count, const int64_t* offsets) {
      E copies[2][kElementRun];
      uint8_t flags[kElementRun];
      loop(run_of(data<uint8_t>(condition) + offsets[0], walk.inner_stride(0), count, flags),
           run_of(data<E>(a) + offsets[1], walk.inner_stride(1), count, copies[0]),
           run_of(data<E>(b) + offsets[2], walk.inner_stride(2), count, copies[1]), data<E>(y) + position, count);
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
