// The coupled iterations for inverse p-th roots, whatever device their matrices are on: when to step, with which polynomial, and
// when to stop. An Iteration has, for R and X of CoupledIteration (iterative_root.h) and n > 0:
//   bounds(steps)           the ends of R's spectrum
//   start(shift, scale)     R = (A + shift I) / scale, X = scale^(-1/p) I
//   step(a, b, c, coupled)  one step with q(x) = a + b x + c x^2; false when it was stopped
//   distance()              |R - I|_F
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "minimax.h"
#include "root_problem.h"
#include "spectrum_bounds.h"

namespace osc {

// R is as close to I as rounding lets it.
template <class Real>
double root_floor(int64_t n) {
  return 4 * std::sqrt(static_cast<double>(n)) * static_cast<double>(std::numeric_limits<Real>::epsilon());
}

// A step at least squares what is well below 1: when it does not, rounding has the last word.
inline bool has_stalled(double before, double after) { return !std::isfinite(after) || (before < 0.1 && after > before / 2); }

// Method "newton": Q = ((p + 1) I - R) / p (coupled Newton: Iannazzo, 2006), R = (p + 1) / (2 lambda_max) A at the start. Stops
// without the last step when |R - I| grew by more than a fifth.
template <class Real, class Iteration>
RootOutcome newton_iterations(const RootProblem& problem, Iteration& iteration) {
  RootOutcome outcome;
  outcome.largest = iteration.bounds(24).high;
  if (!(outcome.largest > 0)) {
    outcome.code = OSC_NOT_POSITIVE_DEFINITE;
    return outcome;
  }
  const auto p = static_cast<double>(problem.p);
  const double shift = problem.ridge * outcome.largest;
  iteration.start(shift, 2 * (outcome.largest + shift) / (p + 1));
  double distance = iteration.distance();
  const double floor = root_floor<Real>(problem.n);
  while (distance > floor && outcome.iterations < problem.max_iterations) {
    if (!iteration.step((p + 1) / p, -1 / p, 0, true)) {
      outcome.code = OSC_ABORTED;
      return outcome;
    }
    ++outcome.iterations;
    const double next = iteration.distance();
    const bool stalled = !(next <= 1.2 * distance) || has_stalled(distance, next);
    distance = next;
    if (stalled) break;
  }
  return outcome;
}

// Method "polynomial": every step takes the minimax quadratic for the interval that R's spectrum is in, so that the product of
// all steps is close to the best polynomial made of so many products (for p = 2 that of Polar Express). The interval is not
// the worst case but what Lanczos steps see of the spectrum, corrected as the iteration goes on. Below `cushion` the lower end
// is not followed: the polynomial of a wide interval takes the largest eigenvalues close to zero, where rounding makes X
// and A commute no more, and the residual suffers a thousandfold; a few more steps cost less.
template <class Real, class Iteration>
RootOutcome polynomial_iterations(const RootProblem& problem, Iteration& iteration) {
  RootOutcome outcome;
  constexpr double kMargin = 1.02;  // Ritz values reach a little less far than the spectrum
  constexpr double kCushion = std::is_same_v<Real, float> ? 0.1 : 1e-3;
  const SpectrumBounds seen = iteration.bounds(24);
  outcome.largest = seen.high;
  if (!(outcome.largest > 0)) {
    outcome.code = OSC_NOT_POSITIVE_DEFINITE;
    return outcome;
  }
  const auto eps = static_cast<double>(std::numeric_limits<Real>::epsilon());
  const double shift = problem.ridge * outcome.largest, scale = kMargin * outcome.largest + shift;
  iteration.start(shift, scale);
  double low = std::clamp((seen.low + shift) / scale / 4, std::max(shift / scale, eps), 0.9), high = 1;  // seen.low is too high
  const auto p = static_cast<double>(problem.p);
  const double floor = root_floor<Real>(problem.n);
  double distance = 1;
  while (outcome.iterations < problem.max_iterations) {
    const RootStep q = minimax_step(std::max(low, kCushion * high), high, static_cast<int>(problem.p));
    const double lowest = low * std::pow(q.a + low * (q.b + low * q.c), p);
    const double below = std::min(lowest, std::pow(1 - q.error, p)), above = std::pow(1 + q.error, p);
    const bool last = above - below < floor;
    if (!iteration.step(q.a, q.b, q.c, !last)) {
      outcome.code = OSC_ABORTED;
      return outcome;
    }
    ++outcome.iterations;
    if (last) break;
    const double next = iteration.distance();
    if (next <= floor || has_stalled(distance, next)) break;
    distance = next;
    const SpectrumBounds now = iteration.bounds(12);
    high = now.high <= above + floor ? above : now.high * kMargin;
    low = std::clamp(now.low, eps, below);
  }
  return outcome;
}

}  // namespace osc
