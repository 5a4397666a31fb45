#include <algorithm>
#include <cmath>
#include <vector>

#include "../dense/product.h"
#include "../dense/residual.h"
#include "../dense/triangular.h"
#include "../kernels.h"
#include "dense_checks.h"
#include "panel_inverse.h"

namespace osc {
namespace {

// |L L^T inverse - I|_F, from the lower half of L.
template <class Real>
double residual_of(const Real* l, int64_t n, const Real* inverse, const Context& context) {
  constexpr int64_t kColumns = 16;
  const Probes<Real> probes(n);
  const int64_t k = probes.count();
  const auto y = workspace<Real>(n * k);
  const bool done =
      product(CblasNoTrans, CblasNoTrans, n, k, n, Real(1), inverse, n, probes.get(), k, Real(0), y.get(), k, context) &&
      parallel_for((k + kColumns - 1) / kColumns, context, [&](int64_t tile) {
        const int64_t from = tile * kColumns, columns = std::min(kColumns, k - from);
        trmm(CblasTrans, n, columns, l, n, y.get() + from, k);
        trmm(CblasNoTrans, n, columns, l, n, y.get() + from, k);
      });
  return done ? probes.norm(y.get(), true) / std::sqrt(static_cast<double>(std::max<int64_t>(n, 1))) : NAN;
}

template <class Real>
Status invert(const CholeskyInverseArgs& args, int64_t n, int64_t item, double& residual, const Context& context) {
  const Real* l = data<Real>(args.factor) + item * n * n;
  Real* inverse = data<Real>(args.inverse) + item * n * n;
  OSC_TRY(check_diagonal(l, n, item));
  PanelInverse<Real> panels(l, n, n);
  const bool done = panels.run(context, [&](int64_t i, int64_t from, int64_t to, const Real* row) {
    for (int64_t k = from; k < to; ++k) inverse[i * n + k] = Real(0) - row[k - from];
  });
  if (!done || !mirror_lower(inverse, n, n, context)) return aborted();
  residual = residual_of(l, n, inverse, context);
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status cholesky_inverse(CholeskyInverseArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& factor = args.factor;
  const int64_t n = order_of(factor), batch = batch_of(factor);
  std::vector<double> residuals(static_cast<size_t>(batch), 0.0);
  OSC_TRY(for_each_matrix(batch, context, [&](int64_t item) {
    double& residual = residuals[static_cast<size_t>(item)];
    return factor.dtype == OSC_FLOAT32 ? invert<float>(args, n, item, residual, context)
                                       : invert<double>(args, n, item, residual, context);
  }));
  args.residual = worst_of(residuals);
  return ok();
}

}  // namespace osc
