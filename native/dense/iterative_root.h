// Inverse p-th roots by iterations that are matrix products alone (root_iterations.h), on the CPU. All iterates are polynomials
// of A: symmetric, commuting, so that of each product one half is computed.
#pragma once
#include <array>
#include <utility>

#include "inverse_root.h"
#include "root_iterations.h"

namespace osc {

// Of the symmetric a[n, lda].
template <class Real>
SpectrumBounds spectrum_bounds(const Real* a, int64_t lda, int64_t n, int64_t steps, const Context& context) {
  return spectrum_bounds<Real>(n, steps, [&](const Real* v, Real* w) {
    constexpr int64_t kRows = 256;
    std::fill_n(w, n, Real(0));
    parallel_for((n + kRows - 1) / kRows, context, [&](int64_t tile) {
      const int64_t i = tile * kRows;
      gemv(CblasNoTrans, std::min(kRows, n - i), n, Real(1), a + i * lda, lda, v, 1, w + i, 1);
    });
  });
}

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

template <class Real>
RootOutcome newton_root(const RootProblem& problem, const Real* a, int64_t lda, Real* root, int64_t ldr, const Context& context) {
  RootOutcome outcome;
  if (problem.n == 0) return outcome;
  CoupledIteration<Real> iteration(problem, a, lda, context);
  outcome = newton_iterations<Real>(problem, iteration);
  if (outcome.code == OSC_OK && !iteration.finish(root, ldr)) outcome.code = OSC_ABORTED;
  return outcome;
}

template <class Real>
RootOutcome polynomial_root(const RootProblem& problem, const Real* a, int64_t lda, Real* root, int64_t ldr, const Context& context) {
  RootOutcome outcome;
  if (problem.n == 0) return outcome;
  CoupledIteration<Real> iteration(problem, a, lda, context);
  outcome = polynomial_iterations<Real>(problem, iteration);
  if (outcome.code == OSC_OK && !iteration.finish(root, ldr)) outcome.code = OSC_ABORTED;
  return outcome;
}

}  // namespace osc
