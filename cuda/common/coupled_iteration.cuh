// The matrices of the coupled iterations for inverse p-th roots (native/dense/root_iterations.h) on the device.
#pragma once
#include <array>
#include <cmath>
#include <utility>

#include "common/blas.h"
#include "common/flat.cuh"
#include "common/reduce.cuh"
#include "common/symmetric.cuh"
#include "core/context.h"
#include "dense/root_iterations.h"

namespace osc {
namespace {

// C[n, n] = op(A) op(B), which is symmetric: its lower half by rows of tiles, then mirrored.
template <class Real>
Status symmetric_product(Transpose ta, Transpose tb, int64_t n, const Real* a, const Real* b, Real* c) {
  constexpr int64_t kRows = 512;
  const int64_t rows = n >= 2 * kRows ? kRows : n;
  for (int64_t i = 0; i < n; i += rows) {
    const int64_t height = std::min(rows, n - i);
    OSC_TRY(gemm(ta, tb, height, i + height, n, 1, a + (ta == Transpose::kNo ? i * n : i), n, b, n, 0, c + i * n, n));
  }
  return mirror_lower(c, n, 1);
}

// r = (r + shift I) / scale.
template <class Real>
struct ShiftAndScale {
  Real* r;
  int64_t n;
  double shift, scale;
  __device__ void operator()(int64_t at) const {
    const Real value = at / n == at % n ? r[at] + static_cast<Real>(shift) : r[at];
    r[at] = static_cast<Real>(static_cast<double>(value) / scale);
  }
};

// q = a I + b r + c s; s is not read when c = 0.
template <class Real>
struct Quadratic {
  const Real *r, *s;
  Real* q;
  int64_t n;
  Real a, b, c;
  __device__ void operator()(int64_t at) const {
    Real value = c != Real(0) ? b * r[at] + c * s[at] : b * r[at];
    if (at / n == at % n) value += a;
    q[at] = value;
  }
};

// root = factor x, or factor I without x.
template <class Real>
struct Scaled {
  const Real* x;
  Real* root;
  int64_t n;
  Real factor;
  __device__ void operator()(int64_t at) const { root[at] = x ? factor * x[at] : at / n == at % n ? factor : Real(0); }
};

// partials[block] = the block's part of |R - I|_F^2.
template <class Real>
OSC_GLOBAL distance_parts(const Real* r, int64_t n, double* partials) {
  double sum = 0;
  for (int64_t at = global_thread(); at < n * n; at += global_threads()) {
    const double apart = static_cast<double>(r[at]) - (at / n == at % n ? 1.0 : 0.0);
    sum += apart * apart;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// As CoupledIteration of native/dense/iterative_root.h. What fails on the device stops the iteration; status() says why.
template <class Real>
class CoupledIteration {
 public:
  CoupledIteration(const RootProblem& problem, const Real* a, const Context& context)
      : problem_(problem), n_(problem.n), context_(context), vectors_(2 * n_), sums_(kParts + 1) {
    for (auto& matrix : matrices_) {
      matrix = DeviceBuffer<Real>(n_ * n_);
      keep(matrix.status());
    }
    keep(vectors_.status());
    keep(sums_.status());
    if (good()) keep(copy_on_device(at(r_), a, matrices_[0].bytes()));
  }

  const Status& status() const { return status_; }

  void start(double shift, double scale) {
    if (good()) keep(launch_each(ShiftAndScale<Real>{at(r_), n_, shift, scale}, n_ * n_));
    factor_ = std::pow(scale, -1 / static_cast<double>(problem_.p));
    identity_ = true;
  }

  bool step(double a, double b, double c, bool coupled) {
    if (c != 0) multiply(r_, r_, s_);
    if (!good()) return false;
    keep(launch_each(Quadratic<Real>{at(r_), at(s_), at(q_), n_, static_cast<Real>(a), static_cast<Real>(b), static_cast<Real>(c)},
                     n_ * n_));
    if (coupled) {
      raise();
      multiply(s_, r_, t_);
      std::swap(r_, t_);
    }
    if (identity_) {
      std::swap(x_, q_);
      identity_ = false;
    } else {
      multiply(x_, q_, t_);
      std::swap(x_, t_);
    }
    return good();
  }

  double distance() {
    double sum = NAN;
    if (!good()) return sum;
    const unsigned blocks = grid_for(n_ * n_, 256, kParts);
    keep(launch(distance_parts<Real>, dim3(blocks), dim3(256), 0, at(r_), n_, sums_.get()));
    if (good()) keep(finish_partials(sums_.get(), blocks, 0.0, Sum(), sums_.get() + kParts));
    if (good()) keep(read_value(sums_.get() + kParts, &sum));
    return std::sqrt(sum);
  }

  SpectrumBounds bounds(int64_t steps) {
    const int64_t bytes = n_ * static_cast<int64_t>(sizeof(Real));
    Real *from = vectors_.get(), *to = from + n_;
    return spectrum_bounds<Real>(n_, steps, [&](const Real* v, Real* w) {
      if (good()) keep(copy_to_device(from, v, bytes));
      if (good()) keep(gemm(Transpose::kNo, Transpose::kNo, n_, 1, n_, 1, at(r_), n_, from, 1, 0, to, 1));
      if (good()) keep(copy_to_host(w, to, bytes));
    });
  }

  Status finish(Real* root) const {
    OSC_TRY(status_);
    return launch_each(Scaled<Real>{identity_ ? nullptr : at(x_), root, n_, static_cast<Real>(factor_)}, n_ * n_);
  }

 private:
  static constexpr int64_t kParts = 512;

  Real* at(int matrix) const { return matrices_[static_cast<size_t>(matrix)].get(); }
  bool good() const { return status_.code == OSC_OK; }
  void keep(const Status& status) {
    if (good()) status_ = status;
  }

  void multiply(int a, int b, int c) {
    if (cancelled(context_)) keep(aborted());
    if (good()) keep(symmetric_product(Transpose::kNo, Transpose::kNo, n_, at(a), at(b), at(c)));
  }

  // s = q^p, by its binary digits.
  void raise() {
    const int64_t p = problem_.p;
    if (p == 1) {
      if (good()) keep(copy_on_device(at(s_), at(q_), matrices_[0].bytes()));
      return;
    }
    int64_t digit = 1;
    while (2 * digit <= p) digit *= 2;
    int power = q_;
    for (digit /= 2; digit > 0; digit /= 2) {
      multiply(power, power, power == s_ ? t_ : s_);
      if (power == s_) std::swap(s_, t_);
      if (p & digit) {
        multiply(s_, q_, t_);
        std::swap(s_, t_);
      }
      power = s_;
    }
  }

  RootProblem problem_;
  int64_t n_;
  const Context& context_;
  std::array<DeviceBuffer<Real>, 5> matrices_;
  DeviceBuffer<Real> vectors_;
  DeviceBuffer<double> sums_;
  Status status_ = ok();
  int x_ = 0, r_ = 1, q_ = 2, s_ = 3, t_ = 4;
  double factor_ = 1;
  bool identity_ = true;
};

}  // namespace
}  // namespace osc
