#include "common/elementwise.cuh"
#include "kernels/elementwise_check.h"

namespace osc {
namespace {

template <class E, int64_t op>
struct Function {
  Views<2> views;
  const E *a, *b;
  uint8_t* y;
  __device__ void operator()(int64_t i) const {
    int64_t at[2];
    views.offsets(i, at);
    y[i] = compare_formula<op>(a[at[0]], b[at[1]]) ? 1 : 0;
  }
};

}  // namespace

Status compare(CompareArgs& args, const Context&) {
  OSC_TRY(check(args));
  const int64_t size = size_of(args.y);
  const Views<2> views(Walk<2>({&args.a, &args.b}), size);
  return with_real(args.a.dtype, [&](auto zero) {
    using E = decltype(zero);
    return with_op<kCompareOps>(args.op, [&](auto op) {
      return launch_each(Function<E, decltype(op)::value>{views, data<E>(args.a), data<E>(args.b), data<uint8_t>(args.y)}, size);
    });
  });
}

}  // namespace osc
