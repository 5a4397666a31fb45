// Inverse p-th roots by iterations that are matrix products alone. All iterates are polynomials of A: symmetric, commuting,
// so that of each product one half is computed.
#pragma once
#include <array>
#include <limits>
#include <utility>

#include "minimax.h"
#include "spectrum_bounds.h"

namespace osc {

// A coupled iteration: X <- X Q and R <- Q^p R with Q a polynomial of R, so that R = X^p A in exact arithmetic and X^p A = I
// when R has become I.
template <class Real>
class CoupledIteration {
 public:
  CoupledIteration(const RootProblem& problem, const Real* a, int64_t lda, const Context& context)
      : problem_(problem), n_(problem.n), ld_(padded_stride(n_)), context_(context) {
    for (auto& matrix : matrices_) matrix = workspace<Real>(n_ * ld_);
    x_ = 0, r_ = 1, q_ = 2, s_ = 3, t_ = 4;
    for_rows(n_, context, [&](int64_t i) { std::copy_n(a + i * lda, n_, row(r_, i)); });
  }

  // Scales and shifts A: R = (A + ridge largest I) / scale and X = scale^(-1/p) I, the latter kept as a factor.
  void start(double shift, double scale) {
    for_rows(n_, context_, [&](int64_t i) {
      Real* r = row(r_, i);
      r[i] += static_cast<Real>(shift);
      for (int64_t j = 0; j < n_; ++j) r[j] = static_cast<Real>(static_cast<double>(r[j]) / scale);
    });
    factor_ = std::pow(scale, -1 / static_cast<double>(problem_.p));
    identity_ = true;
  }

  // One step with q(x) = a + b x + c x^2; without `coupled` X alone, for R is not needed any more. False when cancelled.
  bool step(double a, double b, double c, bool coupled) {
    if (c != 0 && !multiply(r_, r_, s_)) return false;
    const bool filled = for_rows(n_, context_, [&](int64_t i) {
      const auto linear = static_cast<Real>(b), quadratic = static_cast<Real>(c);
      const Real *r = row(r_, i), *square = row(s_, i);
      Real* q = row(q_, i);
      if (c != 0) {
        for (int64_t j = 0; j < n_; ++j) q[j] = linear * r[j] + quadratic * square[j];
      } else {
        for (int64_t j = 0; j < n_; ++j) q[j] = linear * r[j];
      }
      q[i] += static_cast<Real>(a);
    });
    if (!filled) return false;
    if (coupled) {
      if (!raise() || !multiply(s_, r_, t_)) return false;
      std::swap(r_, t_);
    }
    if (identity_) {
      std::swap(x_, q_);
      identity_ = false;
      return true;
    }
    if (!multiply(x_, q_, t_)) return false;
    std::swap(x_, t_);
    return true;
  }

  // |R - I|_F: below 1 every eigenvalue of R is within it of 1, which no norm of single entries can tell.
  double distance() const {
    double sum = 0;
    for (int64_t i = 0; i < n_; ++i) {
      const Real* r = row(r_, i);
      double part = 0;
      for (int64_t j = 0; j < n_; ++j) part += static_cast<double>(r[j]) * static_cast<double>(r[j]);
      const auto own = static_cast<double>(r[i]);
      sum += part - own * own + (own - 1) * (own - 1);
    }
    return std::sqrt(sum < 0 ? 0.0 : sum);
  }

  SpectrumBounds bounds(int64_t steps) const { return spectrum_bounds(row(r_, 0), ld_, n_, steps, context_); }

  bool finish(Real* root, int64_t ldr) const {
    return for_rows(n_, context_, [&](int64_t i) {
      const Real* x = row(x_, i);
      for (int64_t j = 0; j < n_; ++j) {
        root[i * ldr + j] = identity_ ? static_cast<Real>(i == j ? factor_ : 0.0) : static_cast<Real>(factor_) * x[j];
      }
    });
  }

 private:
  Real* row(int at, int64_t i) const { return matrices_[static_cast<size_t>(at)].get() + i * ld_; }

  bool multiply(int a, int b, int c) {
    return symmetric_product(CblasNoTrans, CblasNoTrans, n_, n_, Real(1), row(a, 0), ld_, row(b, 0), ld_, Real(0), row(c, 0), ld_,
                             context_);
  }

  // s = q^p, by its binary digits.
  bool raise() {
    const int64_t p = problem_.p;
    int64_t digit = 1;
    while (2 * digit <= p) digit *= 2;
    if (p == 1) return for_rows(n_, context_, [&](int64_t i) { std::copy_n(row(q_, i), n_, row(s_, i)); });
    int power = q_;
    for (digit /= 2; digit > 0; digit /= 2) {
      if (!multiply(power, power, power == s_ ? t_ : s_)) return false;
      if (power == s_) std::swap(s_, t_);
      power = s_;
      if (p & digit) {
        if (!multiply(s_, q_, t_)) return false;
        std::swap(s_, t_);
        power = s_;
      }
    }
    return true;
  }

  RootProblem problem_;
  int64_t n_, ld_;
  const Context& context_;
  std::array<Buffer<Real>, 5> matrices_;
  int x_, r_, q_, s_, t_;
  double factor_ = 1;
  bool identity_ = true;
};

// R is as close to I as rounding lets it.
template <class Real>
double root_floor(int64_t n) {
  return 4 * std::sqrt(static_cast<double>(n)) * static_cast<double>(std::numeric_limits<Real>::epsilon());
}

// A step at least squares what is well below 1: when it does not, rounding has the last word.
inline bool has_stalled(double before, double after) { return !std::isfinite(after) || (before < 0.1 && after > before / 2); }

// Method "newton": Q = ((p + 1) I - R) / p (coupled Newton: Iannazzo, 2006), R = (p + 1) / (2 lambda_max) A at the start. Stops
// without the last step when |R - I| grew by more than a fifth.
template <class Real>
RootOutcome newton_root(const RootProblem& problem, const Real* a, int64_t lda, Real* root, int64_t ldr, const Context& context) {
  RootOutcome outcome;
  if (problem.n == 0) return outcome;
  CoupledIteration<Real> iteration(problem, a, lda, context);
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
  if (!iteration.finish(root, ldr)) outcome.code = OSC_ABORTED;
  return outcome;
}

// Method "polynomial": every step takes the minimax quadratic for the interval that R's spectrum is in, so that the product of
// all steps is close to the best polynomial made of so many products (for p = 2 that of Polar Express). The interval is not
// the worst case but what Lanczos steps see of the spectrum, corrected as the iteration goes on. Below `cushion` the lower end
// is not followed: the polynomial of a wide interval takes the largest eigenvalues close to zero, where rounding makes X
// and A commute no more, and the residual suffers a thousandfold; a few more steps cost less.
template <class Real>
RootOutcome polynomial_root(const RootProblem& problem, const Real* a, int64_t lda, Real* root, int64_t ldr, const Context& context) {
  RootOutcome outcome;
  if (problem.n == 0) return outcome;
  constexpr double kMargin = 1.02;  // Ritz values reach a little less far than the spectrum
  constexpr double kCushion = std::is_same_v<Real, float> ? 0.1 : 1e-3;
  CoupledIteration<Real> iteration(problem, a, lda, context);
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
  if (!iteration.finish(root, ldr)) outcome.code = OSC_ABORTED;
  return outcome;
}

}  // namespace osc
