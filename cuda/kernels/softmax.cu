#include <limits>

#include "common/teams.cuh"

namespace osc {
namespace {

template <class E>
struct Softmax {
  const E* x;
  E* y;
  int64_t length, queries;  // queries of a causal matrix, or 0
  E scale;
  bool log;

  template <class Team>
  __device__ void operator()(const Team& team, int64_t row) const {
    const E* source = x + row * length;
    E* target = y + row * length;
    // Query i of q sees the keys up to i + length - q: the last query sees all.
    int64_t seen = length;
    if (queries > 0) seen = min(max(row % queries + 1 + length - queries, int64_t{0}), length);
    E shift = -std::numeric_limits<E>::infinity();
    for (int64_t i = team.member; i < seen; i += Team::kSize) shift = LargestElement()(shift, source[i]);
    shift = team.largest(shift);
    double sum = 0;
    for (int64_t i = team.member; i < seen; i += Team::kSize) {
      const E power = Math<E>::exp((source[i] - shift) * scale);
      sum += static_cast<double>(power);
      if (!log) target[i] = power;
    }
    sum = team.sum(sum);
    const E total = static_cast<E>(log ? ::log(sum) : 1 / sum);
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      if (i >= seen) target[i] = log ? -std::numeric_limits<E>::infinity() : E(0);
      else target[i] = log ? (source[i] - shift) * scale - total : target[i] * total;
    }
  }
};

}  // namespace

Status softmax(SoftmaxArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  return with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Softmax<E> rows{data<E>(x), data<E>(args.y), x.shape[1], args.causal_rows, static_cast<E>(args.scale), args.log != 0};
    return launch_rows(rows, x.shape[0], x.shape[1]);
  });
}

}  // namespace osc
