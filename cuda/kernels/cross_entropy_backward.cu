#include "common/flat.cuh"
#include "core/elementwise.h"
#include "kernels/rows_check.h"

namespace osc {
namespace {

template <class E>
struct CrossEntropyBackward {
  const E* x;
  const int32_t* target;
  const E *log_sum, *weight;
  E* dx;
  int64_t classes;
  int64_t ignored_target;  // no int32 when none is ignored

  __device__ void operator()(int64_t i) const {
    const int64_t row = i / classes, wanted = target[row];
    // Other rows without a class were refused when the loss was computed.
    if (wanted == ignored_target || wanted < 0 || wanted >= classes) {
      dx[i] = 0;
      return;
    }
    const E probability = weight[row] * Math<E>::exp(x[i] - log_sum[row]);
    dx[i] = i - row * classes == wanted ? probability - weight[row] : probability;
  }
};

}  // namespace

Status cross_entropy_backward(CrossEntropyBackwardArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  return with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const CrossEntropyBackward<E> rows{data<E>(x),
                                       data<int32_t>(args.target),
                                       data<E>(args.log_sum),
                                       data<E>(args.weight),
                                       data<E>(args.dx),
                                       x.shape[1],
                                       args.ignore ? args.ignore_index : INT64_MAX};
    return launch_each(rows, size_of(x));
  });
}

}  // namespace osc
