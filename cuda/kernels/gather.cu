#include "common/flat.cuh"
#include "common/index_check.cuh"
#include "kernels/rows_check.h"

namespace osc {
namespace {

template <class E>
struct Gather {
  const E* x;
  const int32_t* index;
  E* y;
  int64_t n, m, inner;
  bool shared;  // one index for all of outer

  __device__ void operator()(int64_t i) const {
    const int64_t row = i / inner, o = row / m, from = index[shared ? row - o * m : row];
    y[i] = x[(o * n + from) * inner + (i - row * inner)];
  }
};

}  // namespace

Status gather(GatherArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &index = args.index;
  const int64_t n = x.shape[1];
  // Without anything to copy for it an index is not looked at, as on the CPU.
  if (x.shape[0] == 0) return ok();
  int64_t bad;
  int32_t value;
  OSC_TRY(first_out_of_range(data<int32_t>(index), size_of(index), n, &bad, &value));
  if (bad >= 0) return index_out_of_range(bad, value, n);
  return with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Gather<E> rows{data<E>(x), data<int32_t>(index), data<E>(args.y), n, index.shape[1], x.shape[2], index.shape[0] == 1};
    return launch_each(rows, size_of(args.y));
  });
}

}  // namespace osc
