// Inverse p-th roots by eigenvectors, and from the eigenvectors of a matrix close by (native/dense/spectral_root.h), on the device.
#pragma once
#include <cmath>
#include <vector>

#include "common/coupled_iteration.cuh"

namespace osc {
namespace {

// Row i of e times factors[i].
template <class Real>
struct ScaleRows {
  const Real *e, *factors;
  Real* scaled;
  int64_t n;
  __device__ void operator()(int64_t at) const { scaled[at] = factors[at / n] * e[at]; }
};

// A = V diag(lambda) V^T: root = (diag(lambda^(-1/2p)) V^T)^T (the same). e [n, n] holds A and gets V^T.
template <class Real>
Status eigen_root(const RootProblem& problem, Real* e, Real* root, RootOutcome* outcome) {
  const int64_t n = problem.n;
  DeviceBuffer<Real> values(n), scaled(n * n);
  DeviceBuffer<int32_t> info(1);
  if (!values) return values.status();
  if (!scaled) return scaled.status();
  if (!info) return info.status();
  int32_t failed;
  OSC_TRY(syevd(n, e, n, values.get(), info.get()));
  OSC_TRY(read_value(info.get(), &failed));
  if (failed != 0) {
    outcome->code = OSC_NOT_CONVERGED;
    return ok();
  }
  std::vector<Real> host(static_cast<size_t>(n));
  OSC_TRY(copy_to_host(host.data(), values.get(), values.bytes()));
  outcome->largest = static_cast<double>(host.back());
  const double shift = problem.ridge * outcome->largest;
  if (!(static_cast<double>(host.front()) + shift > 0)) {
    outcome->code = OSC_NOT_POSITIVE_DEFINITE;
    return ok();
  }
  for (Real& value : host) {
    value = static_cast<Real>(std::pow(static_cast<double>(value) + shift, -0.5 / static_cast<double>(problem.p)));
  }
  OSC_TRY(copy_to_device(values.get(), host.data(), values.bytes()));
  OSC_TRY(launch_each(ScaleRows<Real>{e, values.get(), scaled.get(), n}, n * n));
  OSC_TRY(syrk(Transpose::kYes, n, n, 1, scaled.get(), n, 0, root, n));
  return mirror_lower(root, n, 1);
}

template <class Real>
struct TakeDiagonal {
  const Real* b;
  Real* diagonal;
  int64_t n;
  __device__ void operator()(int64_t i) const { diagonal[i] = b[i * n + i]; }
};

// b_ij times the divided difference of x^(-1/p) at B_ii and B_jj, whose p-th roots are s: f[x, y] = -1 / (s t (s^(p-1) + .. +
// t^(p-1))); on the diagonal the function itself.
template <class Real>
struct FirstOrder {
  Real* b;
  const Real* s;
  int64_t n, p;
  __device__ void operator()(int64_t at) const {
    const Real x = s[at / n], y = s[at % n];
    if (at / n == at % n) {
      b[at] = Real(1) / x;
      return;
    }
    Real sum = 1, power = 1;  // y^(k-1) + .. + x^(k-1), x^k
    for (int64_t k = 1; k < p; ++k) {
      power *= x;
      sum = sum * y + power;
    }
    b[at] *= -Real(1) / (x * y * sum);
  }
};

// V of a matrix close by in the columns of v [n, n]: root = V F V^T, F the function to first order of B = V^T A V.
template <class Real>
Status warm_root(const RootProblem& problem, const Real* a, const Real* v, Real* root, RootOutcome* outcome) {
  const int64_t n = problem.n;
  DeviceBuffer<Real> product(n * n), b(n * n), s(n);
  for (const DeviceBuffer<Real>* buffer : {&product, &b, &s}) OSC_TRY(buffer->status());
  OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, n, n, n, 1, a, n, v, n, 0, product.get(), n));
  OSC_TRY(symmetric_product(Transpose::kYes, Transpose::kNo, n, v, product.get(), b.get()));
  OSC_TRY(launch_each(TakeDiagonal<Real>{b.get(), s.get(), n}, n));
  std::vector<Real> host(static_cast<size_t>(n));
  OSC_TRY(copy_to_host(host.data(), s.get(), s.bytes()));
  for (const Real value : host) outcome->largest = std::max(outcome->largest, static_cast<double>(value));
  const double shift = problem.ridge * outcome->largest;
  for (Real& value : host) {
    const double shifted = static_cast<double>(value) + shift;
    if (!(shifted > 0)) {
      outcome->code = OSC_NOT_POSITIVE_DEFINITE;
      return ok();
    }
    value = static_cast<Real>(std::pow(shifted, 1 / static_cast<double>(problem.p)));
  }
  OSC_TRY(copy_to_device(s.get(), host.data(), s.bytes()));
  OSC_TRY(launch_each(FirstOrder<Real>{b.get(), s.get(), n, problem.p}, n * n));
  OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, n, n, n, 1, v, n, b.get(), n, 0, product.get(), n));
  return symmetric_product(Transpose::kNo, Transpose::kYes, n, product.get(), v, root);
}

}  // namespace
}  // namespace osc
