#include "common/outer_rows.cuh"
#include "common/teams.cuh"

namespace osc {
namespace {

template <class E>
struct NormalizeBackward {
  OuterRows shape;
  const E *y, *inverse_deviation, *g;
  E* dx;
  bool centred;

  template <class Team>
  __device__ void operator()(const Team& team, int64_t row) const {
    const int64_t length = shape.length();
    double mean = 0, slope = 0;
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      const int64_t at = shape.at(row, i);
      const double cotangent = static_cast<double>(g[at]);
      mean += cotangent;
      slope += cotangent * static_cast<double>(y[at]);
    }
    mean = centred ? team.sum(mean) : 0;
    slope = team.sum(slope);
    const double inverse = static_cast<double>(inverse_deviation[row]), n = static_cast<double>(length);
    const E along = static_cast<E>(inverse), across = static_cast<E>(-inverse * slope / n);
    const E shift = static_cast<E>(-inverse * mean / n);
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      const int64_t at = shape.at(row, i);
      dx[at] = g[at] * along + y[at] * across + shift;
    }
  }
};

}  // namespace

Status normalize_backward(NormalizeBackwardArgs& args, const Context&) {
  OSC_TRY(check(args));
  const OuterRows shape = outer_rows(args.y);
  return with_real(args.y.dtype, [&](auto zero) {
    using E = decltype(zero);
    const NormalizeBackward<E> rows{shape,           data<E>(args.y),  data<E>(args.inverse_deviation),
                                    data<E>(args.g), data<E>(args.dx), args.centred != 0};
    return launch_rows(rows, shape.rows, shape.length());
  });
}

}  // namespace osc
