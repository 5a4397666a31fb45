// Inverse p-th roots by a reduction to tridiagonal form, by eigenvectors, and from the eigenvectors of a matrix close by.
#pragma once
#include <vector>

#include "inverse_root.h"
#include "rational_root.h"
#include "tridiagonal.h"

namespace osc {

// Method "tridiagonal": A = Q T Q^T, root = Q T^(-1/p) Q^T. No eigenvector is computed. a is replaced.
template <class Real>
RootOutcome tridiagonal_root(const RootProblem& problem, Real* a, int64_t lda, Real* root, int64_t ldr, const Context& context) {
  RootOutcome outcome;
  const int64_t n = problem.n;
  Tridiagonal<Real> reduced(a, n, lda);
  std::vector<double> d(reduced.diagonal().begin(), reduced.diagonal().end());
  const std::vector<double> e(reduced.beside().begin(), reduced.beside().end());
  const TridiagonalView t{d.data(), e.data(), n};
  outcome.largest = largest_eigenvalue(t);
  const double shift = problem.ridge * outcome.largest;
  for (double& x : d) x += shift;
  if (!tridiagonal_inverse_root(t, problem.p, outcome.largest + shift, root, ldr)) {
    outcome.code = OSC_NOT_POSITIVE_DEFINITE;
  } else if (!reduced.rotate(root, ldr, context)) {
    outcome.code = OSC_ABORTED;
  }
  return outcome;
}

// Eigenvalues (ascending) and eigenvectors, the rows of e[n, lde]. a is replaced.
template <class Real>
OscCode eigendecompose(int64_t n, Real* a, int64_t lda, Real* values, Real* e, int64_t lde, const Context& context) {
  Tridiagonal<Real> reduced(a, n, lda);
  if (cancelled(context)) return OSC_ABORTED;
  const auto work = workspace<Real>(1 + 4 * n + n * n);
  std::vector<int> integers(static_cast<size_t>(3 + 5 * n));
  if (n > 0 && stedc(n, reduced.diagonal().data(), reduced.beside().data(), e, lde, work.get(), integers.data()) != 0) {
    return OSC_NOT_CONVERGED;
  }
  std::copy(reduced.diagonal().begin(), reduced.diagonal().end(), values);
  return reduced.rotate_rows(e, lde, n, context) ? OSC_OK : OSC_ABORTED;
}

// Method "eigh": A = V diag(lambda) V^T. a is replaced; e[n, lde] gets V^T.
template <class Real>
RootOutcome eigen_root(const RootProblem& problem, Real* a, int64_t lda, Real* root, int64_t ldr, Real* e, int64_t lde,
                       const Context& context) {
  RootOutcome outcome;
  const int64_t n = problem.n;
  std::vector<Real> values(static_cast<size_t>(n));
  outcome.code = eigendecompose(n, a, lda, values.data(), e, lde, context);
  if (outcome.code != OSC_OK || n == 0) return outcome;
  outcome.largest = static_cast<double>(values.back());
  const double shift = problem.ridge * outcome.largest;
  if (!(static_cast<double>(values.front()) + shift > 0)) {
    outcome.code = OSC_NOT_POSITIVE_DEFINITE;
    return outcome;
  }
  const auto scaled = workspace<Real>(n * lde);
  const bool done = for_rows(n, context, [&](int64_t i) {
    const double value = static_cast<double>(values[static_cast<size_t>(i)]) + shift;
    const auto factor = static_cast<Real>(std::pow(value, -0.5 / static_cast<double>(problem.p)));
    for (int64_t j = 0; j < n; ++j) scaled[i * lde + j] = factor * e[i * lde + j];
  });
  if (!done || !symmetric_product(CblasTrans, CblasNoTrans, n, n, Real(1), scaled.get(), lde, scaled.get(), lde, Real(0), root,
                                  ldr, context)) {
    outcome.code = OSC_ABORTED;
  }
  return outcome;
}

// Method "warm": V of a matrix close by, in the columns of v[n, ldv]. B = V^T A V is nearly diagonal, and the root is
// V F V^T with F_ii = f(B_ii) and F_ij = f[B_ii, B_jj] B_ij: the function to first order in the entries beside the diagonal
// (Daleckii and Krein), where f[x, y] = (f(x) - f(y)) / (x - y) needs no gap between eigenvalues. With s = x^(1/p), t = y^(1/p)
// it is -1 / (s t (s^(p-1) + s^(p-2) t + .. + t^(p-1))).
template <class Real>
RootOutcome warm_root(const RootProblem& problem, const Real* a, int64_t lda, const Real* v, int64_t ldv, Real* root, int64_t ldr,
                      const Context& context) {
  RootOutcome outcome;
  const int64_t n = problem.n, ld = padded_stride(n);
  if (n == 0) return outcome;
  outcome.code = OSC_ABORTED;
  const auto product_of = workspace<Real>(n * ld), b = workspace<Real>(n * ld);
  if (!product(CblasNoTrans, CblasNoTrans, n, n, n, Real(1), a, lda, v, ldv, Real(0), product_of.get(), ld, context) ||
      !symmetric_product(CblasTrans, CblasNoTrans, n, n, Real(1), v, ldv, product_of.get(), ld, Real(0), b.get(), ld, context)) {
    return outcome;
  }
  for (int64_t i = 0; i < n; ++i) outcome.largest = std::max(outcome.largest, static_cast<double>(b[i * ld + i]));
  const double shift = problem.ridge * outcome.largest;
  std::vector<Real> s(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const double value = static_cast<double>(b[i * ld + i]) + shift;
    if (!(value > 0)) {
      outcome.code = OSC_NOT_POSITIVE_DEFINITE;
      return outcome;
    }
    s[static_cast<size_t>(i)] = static_cast<Real>(std::pow(value, 1 / static_cast<double>(problem.p)));
  }
  const bool filled = for_rows(n, context, [&](int64_t i) {
    const Real x = s[static_cast<size_t>(i)];
    Real* row = b.get() + i * ld;
    const Real own = Real(1) / x;
    for (int64_t j = 0; j < n; ++j) {
      const Real y = s[static_cast<size_t>(j)];
      Real sum = 1, power = 1;  // y^(k-1) + .. + x^(k-1), x^k
      for (int64_t k = 1; k < problem.p; ++k) {
        power *= x;
        sum = sum * y + power;
      }
      row[j] *= -Real(1) / (x * y * sum);
    }
    row[i] = own;
  });
  if (!filled ||
      !product(CblasNoTrans, CblasNoTrans, n, n, n, Real(1), v, ldv, b.get(), ld, Real(0), product_of.get(), ld, context) ||
      !symmetric_product(CblasNoTrans, CblasTrans, n, n, Real(1), product_of.get(), ld, v, ldv, Real(0), root, ldr, context)) {
    return outcome;
  }
  outcome.code = OSC_OK;
  return outcome;
}

}  // namespace osc
