#include "common/elementwise.cuh"
#include "kernels/elementwise_check.h"

namespace osc {
namespace {

template <class E>
struct Choice {
  Views<3> views;
  const uint8_t* condition;
  const E *a, *b;
  E* y;
  __device__ void operator()(int64_t i) const {
    int64_t at[3];
    views.offsets(i, at);
    y[i] = condition[at[0]] ? a[at[1]] : b[at[2]];
  }
};

}  // namespace

Status select(SelectArgs& args, const Context&) {
  OSC_TRY(check(args));
  const int64_t size = size_of(args.y);
  const Views<3> views(Walk<3>({&args.condition, &args.a, &args.b}), size);
  return with_real(args.y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Choice<E> choice{views, data<uint8_t>(args.condition), data<E>(args.a), data<E>(args.b), data<E>(args.y)};
    return launch_each(choice, size);
  });
}

}  // namespace osc
