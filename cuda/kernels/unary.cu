#include "common/elementwise.cuh"
#include "kernels/elementwise_check.h"

namespace osc {
namespace {

template <class E, int64_t op, int order>
struct Function {
  Views<2> views;
  const E *x, *weight;  // weight may be null
  E* y;
  E alpha, beta;
  __device__ void operator()(int64_t i) const {
    int64_t at[2];
    views.offsets(i, at);
    const E value = unary_formula<op, order>(x[at[0]], alpha, beta);
    y[i] = weight ? weight[at[1]] * value : value;
  }
};

template <class E, int64_t op, int order>
Status apply(const UnaryArgs& args) {
  const Tensor& second = args.weight.data ? args.weight : args.x;
  const int64_t size = size_of(args.y);
  const Function<E, op, order> function{Views<2>(Walk<2>({&args.x, &second}), size),
                                        data<E>(args.x),
                                        data<E>(args.weight),
                                        data<E>(args.y),
                                        static_cast<E>(args.alpha),
                                        static_cast<E>(args.beta)};
  return launch_each(function, size);
}

}  // namespace

Status unary(UnaryArgs& args, const Context&) {
  OSC_TRY(check(args));
  return with_real(args.y.dtype, [&](auto zero) {
    using E = decltype(zero);
    return with_op<kUnaryOps>(args.op, [&](auto op) {
      constexpr int64_t kOp = decltype(op)::value;
      switch (args.order) {
        case 0: return apply<E, kOp, 0>(args);
        case 1: return apply<E, kOp, 1>(args);
        default: return apply<E, kOp, 2>(args);
      }
    });
  });
}

}  // namespace osc
