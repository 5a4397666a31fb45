// This work is based on: Y. Song, N. Sebe, W. Wang, "Fast differentiable matrix square root and inverse square root", 2022 (Taylor
// polynomial, Pade approximant), and N. Higham, "Functions of matrices", 2008, chapter 6 (the coupled Newton-Schulz iteration).
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../dense/iterative_root.h"
#include "../kernels.h"
#include "dense_checks.h"
#include "dense_checks.h"

namespace osc {
namespace {

enum Method : int64_t { kNewtonSchulz = 0, kTaylor = 1, kPade = 2 };

struct Outcome {
  int64_t iterations = 0;
  double residual = 0;
};

// sqrt(1 - z) ~ P(z) / Q(z), the diagonal Pade approximant of degree 5.
constexpr double kPadeP[] = {1, -11.0 / 4, 11.0 / 4, -77.0 / 64, 55.0 / 256, -11.0 / 1024};
constexpr double kPadeQ[] = {1, -9.0 / 4, 7.0 / 4, -35.0 / 64, 15.0 / 256, -1.0 / 1024};

// One matrix: everything is a function of B = A / |A|_F, symmetric, and commutes.
template <class Real>
class SquareRoot {
 public:
  SquareRoot(const MatrixSqrtArgs& args, int64_t n, int64_t item, const Context& context)
      : args_(args), context_(context), n_(n), ld_(padded_stride(n)), item_(item), a_(matrix()) {}

  Status run(Outcome& outcome) {
    OSC_TRY(copy_symmetric(data<Real>(args_.a) + item_ * n_ * n_, n_, n_, item_ * n_ * n_, a_.get(), ld_, context_));
    norm_ = norm();
    Real* root = data<Real>(args_.root) + item_ * n_ * n_;
    if (norm_ == 0 && !args_.inverse) {
      std::fill_n(root, n_ * n_, Real(0));
      return ok();
    }
    OSC_TRY(check_definite());
    Buffer<Real> x;
    bool done = false;
    switch (args_.method) {
      case kTaylor: done = taylor(x); break;
      case kPade: done = pade(x); break;
      default: done = newton_schulz(x, outcome); break;
    }
    if (!done || cancelled(context_)) return aborted();
    const double scale = args_.inverse ? 1 / std::sqrt(norm_) : std::sqrt(norm_);
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        const double twin = static_cast<double>(x[i * ld_ + j]) + static_cast<double>(x[j * ld_ + i]);
        root[i * n_ + j] = static_cast<Real>(scale * (twin / 2));
      }
    }
    outcome.residual = args_.inverse ? root_residual(a_.get(), ld_, 0, root, n_, n_, 2, context_) : square_residual(root);
    return cancelled(context_) ? aborted() : ok();
  }

 private:
  Buffer<Real> matrix() const { return workspace<Real>(n_ * ld_); }

  // |A|_F, by a sum of squares that cannot overflow.
  double norm() const {
    double largest = 0, sum = 0;
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) largest = std::max(largest, std::fabs(static_cast<double>(a_[i * ld_ + j])));
    }
    for (int64_t i = 0; i < n_ && largest > 0; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        const double x = static_cast<double>(a_[i * ld_ + j]) / largest;
        sum += x * x;
      }
    }
    return largest * std::sqrt(sum);
  }

  // A square root allows a matrix that is singular to rounding.
  Status check_definite() {
    Buffer<Real> factor = scaled(1, args_.inverse ? 0 : static_cast<double>(n_) * std::numeric_limits<Real>::epsilon());
    const int failed = norm_ > 0 ? potrf(n_, factor.get(), ld_) : 1;
    if (failed == 0) return ok();
    return fail(OSC_NOT_POSITIVE_DEFINITE, item_ * n_ + failed - 1,
                "matrix %lld is not positive definite: its leading minor of order %d is not positive",
                static_cast<long long>(item_), failed);
  }

  // factor B + shift I.
  Buffer<Real> scaled(double factor, double shift) const {
    Buffer<Real> b = matrix();
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        b[i * ld_ + j] = static_cast<Real>(factor * (static_cast<double>(a_[i * ld_ + j]) / norm_) + (i == j ? shift : 0.0));
      }
    }
    return b;
  }

  bool multiply(const Buffer<Real>& x, const Buffer<Real>& y, Buffer<Real>& z) const {
    return symmetric_product(CblasNoTrans, CblasNoTrans, n_, n_, Real(1), x.get(), ld_, y.get(), ld_, Real(0), z.get(), ld_, context_);
  }

  bool multiply_whole(const Buffer<Real>& x, const Buffer<Real>& y, Buffer<Real>& z) const {
    return product(CblasNoTrans, CblasNoTrans, n_, n_, n_, Real(1), x.get(), ld_, y.get(), ld_, Real(0), z.get(), ld_, context_);
  }

  // w = (3 I - w) / 2; returns |w - I|_F of w before.
  double turn(Buffer<Real>& w) const {
    double sum = 0;
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        const double one = i == j ? 1 : 0, r = static_cast<double>(w[i * ld_ + j]) - one;
        sum += r * r;
        w[i * ld_ + j] = static_cast<Real>(one - r / 2);
      }
    }
    return std::sqrt(sum);
  }

  // Y = B, Z = I; M = (3 I - Z Y) / 2; Y <- Y M, Z <- M Z. |Z Y - I| falls in every step but for rounding, and then the
  // iterate before counts; for a singular matrix it falls to 1. Whole products: with halves that are mirrored it is not stable.
  bool newton_schulz(Buffer<Real>& root, Outcome& outcome) const {
    Buffer<Real> y = scaled(1, 0), z = scaled(0, 1), w = scaled(1, 0), last_y = matrix(), last_z = matrix();
    double before = INFINITY;
    for (;; ++outcome.iterations) {
      if (outcome.iterations > 0 && !multiply_whole(z, y, w)) return false;
      const double now = turn(w);
      if (!(now < before)) {
        std::swap(y, last_y);
        std::swap(z, last_z);
        --outcome.iterations;
        break;
      }
      if (now <= root_floor<Real>(n_) || outcome.iterations == args_.steps) break;
      before = now;
      if (!multiply_whole(y, w, last_y) || !multiply_whole(w, z, last_z)) return false;
      std::swap(y, last_y);
      std::swap(z, last_z);
    }
    root = std::move(args_.inverse ? z : y);
    return true;
  }

  // sum c_k Z^k by powers up to the `powers.size()`-th and Horner's rule in the last of them: about 2 sqrt(degree) products.
  bool polynomial(const std::vector<Buffer<Real>>& powers, const double* c, int64_t degree, Buffer<Real>& sum) const {
    const auto width = static_cast<int64_t>(powers.size());
    Buffer<Real> t = matrix();
    sum = matrix();
    for (int64_t block = degree / width; block >= 0; --block) {
      const bool first = block == degree / width;
      if (!first && !multiply(sum, powers.back(), t)) return false;
      const int64_t from = block * width, terms = std::min(width, degree - from + 1);
      for (int64_t i = 0; i < n_; ++i) {
        for (int64_t j = 0; j < n_; ++j) {
          double x = first ? 0.0 : static_cast<double>(t[i * ld_ + j]);
          if (i == j) x += c[from];
          for (int64_t k = 1; k < terms; ++k) x += c[from + k] * static_cast<double>(powers[static_cast<size_t>(k - 1)][i * ld_ + j]);
          sum[i * ld_ + j] = static_cast<Real>(x);
        }
      }
    }
    return true;
  }

  // Z = I - B and its powers.
  bool powers_of_complement(int64_t count, std::vector<Buffer<Real>>& powers) const {
    powers.push_back(scaled(-1, 1));
    while (static_cast<int64_t>(powers.size()) < count) {
      Buffer<Real> next = matrix();
      if (!multiply(powers.back(), powers.front(), next)) return false;
      powers.push_back(std::move(next));
    }
    return true;
  }

  // (1 - z)^(1/2) or (1 - z)^(-1/2) as a Taylor polynomial of degree `steps`.
  bool taylor(Buffer<Real>& root) const {
    const int64_t degree = args_.steps;
    std::vector<double> c{1};
    for (int64_t k = 0; k < degree; ++k) {
      const auto at = static_cast<double>(k);
      c.push_back(c.back() * (at + (args_.inverse ? 0.5 : -0.5)) / (at + 1));
    }
    std::vector<Buffer<Real>> powers;
    const auto width = std::max<int64_t>(1, std::llround(std::sqrt(static_cast<double>(degree))));
    return powers_of_complement(width, powers) && polynomial(powers, c.data(), degree, root);
  }

  // Q S = P, or P T = Q. Both are positive definite, for their zeros lie above 1.
  bool pade(Buffer<Real>& root) const {
    std::vector<Buffer<Real>> powers;
    Buffer<Real> left, right;
    if (!powers_of_complement(3, powers) || !polynomial(powers, args_.inverse ? kPadeP : kPadeQ, 5, left) ||
        !polynomial(powers, args_.inverse ? kPadeQ : kPadeP, 5, right)) {
      return false;
    }
    if (potrf(n_, left.get(), ld_) != 0) std::fill_n(left.get(), n_ * ld_, Real(NAN));  // shows in the residual
    trsm(CblasLower, CblasNoTrans, n_, n_, left.get(), ld_, right.get(), ld_);
    trsm(CblasLower, CblasTrans, n_, n_, left.get(), ld_, right.get(), ld_);
    root = std::move(right);
    return true;
  }

  // |S^2 - A|_F / |A|_F, scaled before it is squared.
  double square_residual(const Real* s) const {
    const Probes<Real> probes(n_);
    const int64_t k = probes.count();
    const auto y = workspace<Real>(n_ * k), r = workspace<Real>(n_ * k);
    const auto scale = static_cast<Real>(1 / std::sqrt(norm_)), whole = static_cast<Real>(1 / norm_);
    const bool done = product(CblasNoTrans, CblasNoTrans, n_, k, n_, scale, s, n_, probes.get(), k, Real(0), y.get(), k, context_) &&
                      product(CblasNoTrans, CblasNoTrans, n_, k, n_, scale, s, n_, y.get(), k, Real(0), r.get(), k, context_) &&
                      product(CblasNoTrans, CblasNoTrans, n_, k, n_, -whole, a_.get(), ld_, probes.get(), k, Real(1), r.get(), k,
                              context_);
    return done ? probes.norm(r.get(), false) : NAN;
  }

  const MatrixSqrtArgs& args_;
  const Context& context_;
  int64_t n_, ld_, item_;
  double norm_ = 0;
  Buffer<Real> a_;
};

template <class Real>
Status sqrt_of(const MatrixSqrtArgs& args, int64_t n, int64_t item, Outcome& outcome, const Context& context) {
  OSC_TRY(SquareRoot<Real>(args, n, item, context).run(outcome));
  if (outcome.residual <= args.tolerance) return ok();
  Status status = fail(OSC_NOT_CONVERGED, outcome.iterations, "the root of matrix %lld did not converge: residual %.3g after %lld steps",
                       static_cast<long long>(item), outcome.residual, static_cast<long long>(outcome.iterations));
  status.value = outcome.residual;
  return status;
}

}  // namespace

Status matrix_sqrt(MatrixSqrtArgs& args, const Context& context) {
  const Tensor& a = args.a;
  const int64_t n = a.rank >= 2 ? a.shape[a.rank - 1] : -1;
  if (n < 0 || !is_batch(a, a, a.dtype, n, n) || !is_batch(args.root, a, a.dtype, n, n)) {
    return fail(OSC_ARGUMENT, 0, "a and root must be contiguous [..., n, n] of one dtype");
  }
  if (a.dtype != OSC_FLOAT32 && a.dtype != OSC_FLOAT64) return fail(OSC_ARGUMENT, 0, "a must be float32 or float64");
  if (args.method < kNewtonSchulz || args.method > kPade || args.steps < 0 || args.steps > 1000) {
    return fail(OSC_ARGUMENT, 0, "method must be 0 to 2 and steps 0 to 1000");
  }
  if (n == 0) return ok();
  std::vector<Outcome> outcomes(static_cast<size_t>(batch_of(a)));
  OSC_TRY(for_each_matrix(batch_of(a), context, [&](int64_t item) {
    Outcome& outcome = outcomes[static_cast<size_t>(item)];
    return a.dtype == OSC_FLOAT32 ? sqrt_of<float>(args, n, item, outcome, context) : sqrt_of<double>(args, n, item, outcome, context);
  }));
  for (const Outcome& outcome : outcomes) {
    args.residual = std::max(args.residual, outcome.residual);
    args.iterations = std::max(args.iterations, outcome.iterations);
  }
  return ok();
}

}  // namespace osc
