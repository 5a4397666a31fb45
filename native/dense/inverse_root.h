// What the methods for (A + ridge lambda_max I)^(-1/p) share.
#pragma once
#include <cmath>

#include "product.h"
#include "residual.h"
#include "root_problem.h"

namespace osc {

// f(i) for every row, in parallel. Returns false when cancelled.
template <class F>
bool for_rows(int64_t n, const Context& context, F&& f) {
  constexpr int64_t kRows = 64;
  return parallel_for((n + kRows - 1) / kRows, context, [&](int64_t tile) {
    for (int64_t i = tile * kRows; i < std::min(n, (tile + 1) * kRows); ++i) f(i);
  });
}

// |X^p (A + shift I) - I|_F / sqrt(n), A and X symmetric.
template <class Real>
double root_residual(const Real* a, int64_t lda, double shift, const Real* x, int64_t ldx, int64_t n, int64_t p,
                     const Context& context) {
  if (n == 0) return 0;
  const Probes<Real> probes(n);
  const int64_t k = probes.count();
  auto y = workspace<Real>(n * k), z = workspace<Real>(n * k);
  std::copy_n(probes.get(), n * k, y.get());
  bool done = product(CblasNoTrans, CblasNoTrans, n, k, n, Real(1), a, lda, probes.get(), k, static_cast<Real>(shift), y.get(), k,
                      context);
  for (int64_t i = 0; i < p && done; ++i) {
    done = product(CblasNoTrans, CblasNoTrans, n, k, n, Real(1), x, ldx, y.get(), k, Real(0), z.get(), k, context);
    std::swap(y, z);
  }
  return done ? probes.norm(y.get(), true) / std::sqrt(static_cast<double>(n)) : NAN;
}

}  // namespace osc
