#include "common/teams.cuh"
#include "common/outer_rows.cuh"

namespace osc {
namespace {

template <class E>
struct Normalize {
  OuterRows shape;
  const E* x;
  E *y, *mean, *inverse_deviation;
  double eps;
  bool centred;

  template <class Team>
  __device__ void operator()(const Team& team, int64_t row) const {
    const int64_t length = shape.length();
    double sum = 0, squares = 0;
    if (centred) {
      for (int64_t i = team.member; i < length; i += Team::kSize) sum += static_cast<double>(x[shape.at(row, i)]);
      sum = team.sum(sum) / static_cast<double>(length);
    }
    const E centre = static_cast<E>(sum);
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      const double distance = static_cast<double>(x[shape.at(row, i)]) - static_cast<double>(centre);
      squares += distance * distance;
    }
    const E inverse = static_cast<E>(1 / sqrt(team.sum(squares) / static_cast<double>(length) + eps));
    for (int64_t i = team.member; i < length; i += Team::kSize) {
      const int64_t at = shape.at(row, i);
      y[at] = (x[at] - centre) * inverse;
    }
    if (team.member != 0) return;
    mean[row] = centre;
    inverse_deviation[row] = inverse;
  }
};

}  // namespace

Status normalize(NormalizeArgs& args, const Context&) {
  OSC_TRY(check(args));
  const OuterRows shape = outer_rows(args.x);
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Normalize<E> rows{shape,          data<E>(args.x), data<E>(args.y),  data<E>(args.mean), data<E>(args.inverse_deviation),
                            args.eps,       args.centred != 0};
    return launch_rows(rows, shape.rows, shape.length());
  });
}

}  // namespace osc
