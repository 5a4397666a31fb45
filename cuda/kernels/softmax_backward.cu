#include "common/teams.cuh"

namespace osc {
namespace {

template <class E>
struct SoftmaxBackward {
  const E *y, *g;
  E* dx;
  int64_t length;
  E scale;
  bool log;

  template <class Team>
  __device__ void operator()(const Team& team, int64_t row) const {
    const E *values = y + row * length, *cotangents = g + row * length;
    E* target = dx + row * length;
    double sum = 0;
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      const double cotangent = static_cast<double>(cotangents[i]);
      sum += log ? cotangent : cotangent * static_cast<double>(values[i]);
    }
    const E total = static_cast<E>(team.sum(sum));
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      target[i] = log ? scale * cotangents[i] - scale * total * Math<E>::exp(values[i])
                      : values[i] * (cotangents[i] - total) * scale;
    }
  }
};

}  // namespace

Status softmax_backward(SoftmaxBackwardArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& y = args.y;
  return with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const SoftmaxBackward<E> rows{data<E>(y), data<E>(args.g), data<E>(args.dx), y.shape[1], static_cast<E>(args.scale),
                                  args.log != 0};
    return launch_rows(rows, y.shape[0], y.shape[1]);
  });
}

}  // namespace osc
