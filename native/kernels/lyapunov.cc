// This work is based on: Y. Song, N. Sebe, W. Wang, "Fast differentiable matrix square root and inverse square root", 2022: the
// equation S X + X S = G by the matrix sign of [S, G; 0, -S], which needs products alone.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/finite.h"
#include "../dense/iterative_root.h"
#include "../kernels.h"
#include "dense_checks.h"

namespace osc {
namespace {

struct Outcome {
  int64_t iterations = 0;
  double residual = 0;
};

template <class Real>
class SignIteration {
 public:
  SignIteration(const LyapunovArgs& args, int64_t n, int64_t item, const Context& context)
      : args_(args),
        context_(context),
        n_(n),
        ld_(padded_stride(n)),
        item_(item),
        g_(data<Real>(args.g) + item * n * n),
        s_(matrix()),
        b_(matrix()),
        square_(matrix()),
        c_(matrix()),
        t_(matrix()),
        u_(matrix()),
        v_(matrix()) {}

  Status run(Outcome& outcome) {
    OSC_TRY(copy_symmetric(data<Real>(args_.s) + item_ * n_ * n_, n_, n_, item_ * n_ * n_, s_.get(), ld_, context_));
    if (!all_finite(g_, n_ * n_)) {
      int64_t at = 0;
      while (std::isfinite(g_[at])) ++at;
      return fail(OSC_NON_FINITE, item_ * n_ * n_ + at, "g of matrix %lld has NaN or Inf", static_cast<long long>(item_));
    }
    std::copy_n(s_.get(), n_ * ld_, t_.get());
    if (const int failed = potrf(n_, t_.get(), ld_); failed != 0) {
      return fail(OSC_NOT_POSITIVE_DEFINITE, item_ * n_ + failed - 1,
                  "matrix %lld is not positive definite: its leading minor of order %d is not positive",
                  static_cast<long long>(item_), failed);
    }
    if (!solve(outcome)) return aborted();
    Real* x = data<Real>(args_.x) + item_ * n_ * n_;
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) x[i * n_ + j] = c_[i * ld_ + j] / 2;
    }
    outcome.residual = residual(x);
    return cancelled(context_) ? aborted() : ok();
  }

 private:
  Buffer<Real> matrix() const { return workspace<Real>(n_ * ld_); }

  bool multiply(const Buffer<Real>& x, const Buffer<Real>& y, Buffer<Real>& z) const {
    return product(CblasNoTrans, CblasNoTrans, n_, n_, n_, Real(1), x.get(), ld_, y.get(), ld_, Real(0), z.get(), ld_, context_);
  }
  bool multiply_symmetric(const Buffer<Real>& x, const Buffer<Real>& y, Buffer<Real>& z) const {
    return symmetric_product(CblasNoTrans, CblasNoTrans, n_, n_, Real(1), x.get(), ld_, y.get(), ld_, Real(0), z.get(), ld_, context_);
  }

  bool is_symmetric() const {
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        if (g_[i * n_ + j] != g_[j * n_ + i]) return false;
      }
    }
    return true;
  }

  static double frobenius(const Buffer<Real>& x, int64_t n, int64_t ld, double diagonal) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const double r = static_cast<double>(x[i * ld + j]) - (i == j ? diagonal : 0.0);
        sum += r * r;
      }
    }
    return std::sqrt(sum);
  }

  // b = S / nu, c = G / nu with nu^2 = |S^2|_F, at least the square of the largest eigenvalue; then
  // c <- (c (3 I - b^2) - b^2 c + b c b) / 2 and b <- b (3 I - b^2) / 2 take b to I and c to 2 X.
  bool solve(Outcome& outcome) {
    double largest = 0;
    for (int64_t i = 0; i < n_; ++i) largest = std::max(largest, static_cast<double>(s_[i * ld_ + i]));  // so of S, positive definite
    scale(s_.get(), ld_, 1 / largest, b_);
    if (!multiply_symmetric(b_, b_, square_)) return false;
    const double nu = std::sqrt(frobenius(square_, n_, ld_, 0));
    scale(b_.get(), ld_, 1 / nu, b_);
    scale(square_.get(), ld_, 1 / (nu * nu), square_);
    scale(g_, n_, 1 / (nu * largest), c_);
    const bool symmetric = is_symmetric();
    double before = INFINITY;
    for (; outcome.iterations < args_.max_iterations; ++outcome.iterations) {
      const double now = frobenius(b_, n_, ld_, 1);
      if (now <= root_floor<Real>(n_) || has_stalled(before, now)) return true;
      before = now;
      // With w = b c: b^2 c = b w and b c b = w b, and c b^2 is the transpose of b^2 c when c is symmetric.
      if (!multiply(b_, c_, t_) || !multiply(b_, t_, u_)) return false;
      if (symmetric ? !multiply_symmetric(t_, b_, v_) : !multiply(t_, b_, v_)) return false;
      if (!symmetric && !multiply(c_, square_, t_)) return false;
      for (int64_t i = 0; i < n_; ++i) {
        for (int64_t j = 0; j < n_; ++j) {
          const int64_t at = i * ld_ + j;
          const Real right = symmetric ? u_[j * ld_ + i] : t_[at];
          c_[at] = (3 * c_[at] - (right + u_[at]) + v_[at]) / 2;  // grouped so that it stays symmetric
        }
      }
      if (!multiply_symmetric(b_, square_, t_)) return false;
      for (int64_t i = 0; i < n_; ++i) {
        for (int64_t j = 0; j < n_; ++j) b_[i * ld_ + j] = (3 * b_[i * ld_ + j] - t_[i * ld_ + j]) / 2;
      }
      if (!multiply_symmetric(b_, b_, square_)) return false;
    }
    return true;
  }

  void scale(const Real* from, int64_t ld, double factor, Buffer<Real>& to) const {
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) to[i * ld_ + j] = static_cast<Real>(static_cast<double>(from[i * ld + j]) * factor);
    }
  }

  // |S X + X S - G|_F / |G|_F.
  double residual(const Real* x) const {
    const Probes<Real> probes(n_);
    const int64_t k = probes.count();
    const auto y = workspace<Real>(n_ * k), r = workspace<Real>(n_ * k);
    const auto times = [&](Real alpha, const Real* m, int64_t ld, const Real* z, Real beta, Real* out) {
      return product(CblasNoTrans, CblasNoTrans, n_, k, n_, alpha, m, ld, z, k, beta, out, k, context_);
    };
    const bool done = times(Real(1), g_, n_, probes.get(), Real(0), r.get());
    const double size = probes.norm(r.get(), false);
    if (!done || !times(Real(1), x, n_, probes.get(), Real(0), y.get()) || !times(Real(1), s_.get(), ld_, y.get(), Real(-1), r.get()) ||
        !times(Real(1), s_.get(), ld_, probes.get(), Real(0), y.get()) || !times(Real(1), x, n_, y.get(), Real(1), r.get())) {
      return NAN;
    }
    return probes.norm(r.get(), false) / (size > 0 ? size : 1);
  }

  const LyapunovArgs& args_;
  const Context& context_;
  int64_t n_, ld_, item_;
  const Real* g_;
  Buffer<Real> s_, b_, square_, c_, t_, u_, v_;
};

template <class Real>
Status solve_one(const LyapunovArgs& args, int64_t n, int64_t item, Outcome& outcome, const Context& context) {
  OSC_TRY(SignIteration<Real>(args, n, item, context).run(outcome));
  if (outcome.residual <= args.tolerance) return ok();
  Status status = fail(OSC_NOT_CONVERGED, outcome.iterations, "the equation of matrix %lld: residual %.3g after %lld iterations",
                       static_cast<long long>(item), outcome.residual, static_cast<long long>(outcome.iterations));
  status.value = outcome.residual;
  return status;
}

}  // namespace

Status lyapunov(LyapunovArgs& args, const Context& context) {
  const Tensor& s = args.s;
  const int64_t n = s.rank >= 2 ? s.shape[s.rank - 1] : -1;
  if (n < 0 || !is_batch(s, s, s.dtype, n, n) || !is_batch(args.g, s, s.dtype, n, n) || !is_batch(args.x, s, s.dtype, n, n)) {
    return fail(OSC_ARGUMENT, 0, "s, g and x must be contiguous [..., n, n] of one dtype");
  }
  if (s.dtype != OSC_FLOAT32 && s.dtype != OSC_FLOAT64) return fail(OSC_ARGUMENT, 0, "s must be float32 or float64");
  if (n == 0) return ok();
  std::vector<Outcome> outcomes(static_cast<size_t>(batch_of(s)));
  OSC_TRY(for_each_matrix(batch_of(s), context, [&](int64_t item) {
    Outcome& outcome = outcomes[static_cast<size_t>(item)];
    return s.dtype == OSC_FLOAT32 ? solve_one<float>(args, n, item, outcome, context) : solve_one<double>(args, n, item, outcome, context);
  }));
  for (const Outcome& outcome : outcomes) {
    args.residual = std::max(args.residual, outcome.residual);
    args.iterations = std::max(args.iterations, outcome.iterations);
  }
  return ok();
}

}  // namespace osc
