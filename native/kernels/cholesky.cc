#include <algorithm>

#include "../dense/batch.h"
#include "../dense/symmetric.h"
#include "../kernels.h"
#include "dense_checks.h"
#include "panel_cholesky.h"

namespace osc {
namespace {

template <class Real>
Status factorize(const CholeskyArgs& args, int64_t n, int64_t item, const Context& context) {
  const Real* a = data<Real>(args.a) + item * n * n;
  OSC_TRY(check_symmetric(a, n, n, item * n * n, context));
  const auto shift = static_cast<Real>(args.shift);
  PanelCholesky<Real> panels(n);
  if (!panels) return fail(OSC_OUT_OF_MEMORY, panels.bytes(), "no memory for the factorization");
  Real* factor = data<Real>(args.factor) + item * n * n;
  const int64_t failed = panels.factor(
      context,
      [&](int64_t i, int64_t from, int64_t to, Real* row) {
        std::copy(a + i * n + from, a + i * n + to, row);
        if (i < to) row[i - from] += shift;
      },
      [&](int64_t i, int64_t from, int64_t to, const Real* row) { std::copy_n(row, to - from, factor + i * n + from); });
  if (failed == PanelCholesky<Real>::kCancelled) return aborted();
  if (failed != PanelCholesky<Real>::kNone) {
    return fail(OSC_NOT_POSITIVE_DEFINITE, item * n + failed,
                "the matrix is not positive definite: its leading minor of order %lld is not positive",
                static_cast<long long>(failed + 1));
  }
  for (int64_t i = 0; i < n; ++i) std::fill_n(factor + i * n + i + 1, n - i - 1, Real(0));
  return ok();
}

}  // namespace

Status cholesky(CholeskyArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& a = args.a;
  const int64_t n = order_of(a);
  return for_each_matrix(batch_of(a), context, [&](int64_t item) {
    return a.dtype == OSC_FLOAT32 ? factorize<float>(args, n, item, context) : factorize<double>(args, n, item, context);
  });
}

}  // namespace osc
