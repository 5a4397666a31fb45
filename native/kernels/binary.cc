#include "../kernels.h"
#include "elementwise.h"

namespace osc {

Status binary(BinaryArgs& args, const Context& context) {
  const Tensor &a = args.a, &b = args.b, &y = args.y;
  if (args.op < 0 || args.op >= kBinaryOps) return fail(OSC_ARGUMENT, 0, "no such op");
  if (!is_real(y) || a.dtype != y.dtype || b.dtype != y.dtype || !same_shape(a, y) || !same_shape(b, y) ||
      !is_contiguous(y)) {
    return fail(OSC_ARGUMENT, 0, "a, b and y must have one shape and one real dtype, y contiguous");
  }
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
