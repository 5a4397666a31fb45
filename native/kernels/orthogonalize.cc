// This work is based on: K. Jordan et al., Muon, 2024 (the quintic), and N. Amsel et al., "The Polar Express", 2025 (minimax
// polynomials); ours: their interval comes from Lanczos steps instead of a worst case.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/finite.h"
#include "../dense/iterative_root.h"
#include "../dense/transpose.h"
#include "../kernels.h"
#include "dense_checks.h"

namespace osc {
namespace {

struct Outcome {
  int64_t iterations = 0;
  double residual = 0;
};

// X <- (a I + b A + c A^2) X with A = X X^T, X[d, e] the smaller side down.
template <class Real>
class Orthogonalization {
 public:
  Orthogonalization(const OrthogonalizeArgs& args, int64_t m, int64_t n, int64_t item, const Context& context)
      : args_(args),
        context_(context),
        m_(m),
        n_(n),
        d_(std::min(m, n)),
        e_(std::max(m, n)),
        ldd_(padded_stride(d_)),
        lde_(padded_stride(e_)),
        source_(data<Real>(args.x) + item * m * n),
        target_(data<Real>(args.y) + item * m * n),
        x_(workspace<Real>(d_ * lde_)),
        next_(workspace<Real>(d_ * lde_)),
        a_(workspace<Real>(d_ * ldd_)),
        b_(workspace<Real>(d_ * ldd_)) {}

  bool run(Outcome& outcome) {
    normalize();
    const bool done = args_.polar ? polar(outcome) : fixed(outcome);
    if (!done || !gram()) return false;
    outcome.residual = distance() / std::sqrt(static_cast<double>(std::max<int64_t>(d_, 1)));
    store();
    return true;
  }

 private:
  // X = x / (|x|_F + eps), with a sum of squares that cannot overflow.
  void normalize() {
    double largest = 0, sum = 0;
    for (int64_t i = 0; i < m_ * n_; ++i) largest = std::max(largest, std::fabs(static_cast<double>(source_[i])));
    for (int64_t i = 0; i < m_ * n_ && largest > 0; ++i) {
      const double x = static_cast<double>(source_[i]) / largest;
      sum += x * x;
    }
    const double norm = largest * std::sqrt(sum) + args_.eps, factor = norm > 0 ? 1 / norm : 0;
    if (m_ <= n_) {
      for (int64_t i = 0; i < m_; ++i) std::copy_n(source_ + i * n_, n_, x_.get() + i * lde_);
    } else {
      transpose_block(source_, n_, m_, n_, x_.get(), lde_);
    }
    for (int64_t i = 0; i < d_; ++i) {
      for (int64_t j = 0; j < e_; ++j) x_[i * lde_ + j] = static_cast<Real>(static_cast<double>(x_[i * lde_ + j]) * factor);
    }
  }

  void store() const {
    if (m_ <= n_) {
      for (int64_t i = 0; i < m_; ++i) std::copy_n(x_.get() + i * lde_, n_, target_ + i * n_);
    } else {
      transpose_block(x_.get(), lde_, n_, m_, target_, n_);
    }
  }

  bool gram() {
    return symmetric_product(CblasNoTrans, CblasTrans, d_, e_, Real(1), x_.get(), lde_, x_.get(), lde_, Real(0), a_.get(), ldd_,
                             context_);
  }

  // One step from A = X X^T.
  bool step(double a, double b, double c) {
    for (int64_t i = 0; i < d_; ++i) std::copy_n(a_.get() + i * ldd_, d_, b_.get() + i * ldd_);
    if (!symmetric_product(CblasNoTrans, CblasNoTrans, d_, d_, static_cast<Real>(c), a_.get(), ldd_, a_.get(), ldd_,
                           static_cast<Real>(b), b_.get(), ldd_, context_)) {
      return false;
    }
    for (int64_t i = 0; i < d_; ++i) std::copy_n(x_.get() + i * lde_, e_, next_.get() + i * lde_);
    if (!product(CblasNoTrans, CblasNoTrans, d_, e_, d_, Real(1), b_.get(), ldd_, x_.get(), lde_, static_cast<Real>(a),
                 next_.get(), lde_, context_)) {
      return false;
    }
    std::swap(x_, next_);
    return true;
  }

  bool fixed(Outcome& outcome) {
    for (; outcome.iterations < args_.steps; ++outcome.iterations) {
      if (!gram() || !step(args_.a, args_.b, args_.c)) return false;
    }
    return true;
  }

  // |A - I|_F.
  double distance() const {
    double sum = 0;
    for (int64_t i = 0; i < d_; ++i) {
      for (int64_t j = 0; j < d_; ++j) {
        const double r = static_cast<double>(a_[i * ldd_ + j]) - (i == j ? 1.0 : 0.0);
        sum += r * r;
      }
    }
    return std::sqrt(sum);
  }

  bool polar(Outcome& outcome) {
    constexpr double kCushion = 1e-2, kMargin = 1.02;
    const auto eps = static_cast<double>(std::numeric_limits<Real>::epsilon());
    double low = eps * eps, high = 1, before = INFINITY;
    for (; outcome.iterations < args_.steps; ++outcome.iterations) {
      if (!gram()) return false;
      const double now = distance();
      if (now <= root_floor<Real>(d_) || has_stalled(before, now)) return true;
      before = now;
      const SpectrumBounds seen = spectrum_bounds(a_.get(), ldd_, d_, outcome.iterations ? 12 : 24, context_);
      high = outcome.iterations && seen.high <= high + root_floor<Real>(d_) ? high : seen.high * kMargin;
      low = outcome.iterations ? std::clamp(seen.low, eps * eps, low) : std::max(seen.low / 4, eps * eps);
      const RootStep q = minimax_step(std::max(std::min(low, high), kCushion * high), high, 2);
      if (!step(q.a, q.b, q.c)) return false;
      const double grown = q.a + low * (q.b + low * q.c);
      low = std::min(low * grown * grown, (1 - q.error) * (1 - q.error));
      high = (1 + q.error) * (1 + q.error);
    }
    return true;
  }

  const OrthogonalizeArgs& args_;
  const Context& context_;
  int64_t m_, n_, d_, e_, ldd_, lde_;
  const Real* source_;
  Real* target_;
  Buffer<Real> x_, next_, a_, b_;
};

template <class Real>
Status orthogonalize_one(const OrthogonalizeArgs& args, int64_t m, int64_t n, int64_t item, Outcome& outcome, const Context& context) {
  const Real* x = data<Real>(args.x) + item * m * n;
  if (!all_finite(x, m * n)) {
    int64_t at = 0;
    while (std::isfinite(x[at])) ++at;
    return fail(OSC_NON_FINITE, item * m * n + at, "matrix %lld has NaN or Inf", static_cast<long long>(item));
  }
  if (!Orthogonalization<Real>(args, m, n, item, context).run(outcome) || cancelled(context)) return aborted();
  if (!(outcome.residual <= args.tolerance)) {
    Status status = fail(OSC_NOT_CONVERGED, outcome.iterations, "matrix %lld has no orthogonal factor: residual %.3g after %lld steps",
                         static_cast<long long>(item), outcome.residual, static_cast<long long>(outcome.iterations));
    status.value = outcome.residual;
    return status;
  }
  return ok();
}

}  // namespace

Status orthogonalize(OrthogonalizeArgs& args, const Context& context) {
  const Tensor& x = args.x;
  if (x.rank < 2 || (x.dtype != OSC_FLOAT32 && x.dtype != OSC_FLOAT64) || !is_contiguous(x)) {
    return fail(OSC_ARGUMENT, 0, "x must be contiguous float32 or float64 [..., m, n]");
  }
  const int64_t m = x.shape[x.rank - 2], n = x.shape[x.rank - 1], batch = batch_of(x);
  if (!is_batch(args.y, x, x.dtype, m, n)) return fail(OSC_ARGUMENT, 0, "y must be like x");
  if (m == 0 || n == 0) return ok();
  std::vector<Outcome> outcomes(static_cast<size_t>(batch));
  OSC_TRY(for_each_matrix(batch, context, [&](int64_t item) {
    Outcome& outcome = outcomes[static_cast<size_t>(item)];
    return x.dtype == OSC_FLOAT32 ? orthogonalize_one<float>(args, m, n, item, outcome, context)
                                  : orthogonalize_one<double>(args, m, n, item, outcome, context);
  }));
  for (const Outcome& outcome : outcomes) {
    args.residual = std::max(args.residual, outcome.residual);
    args.iterations = std::max(args.iterations, outcome.iterations);
  }
  return ok();
}

}  // namespace osc
