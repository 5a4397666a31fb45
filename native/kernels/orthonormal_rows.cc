#include <algorithm>
#include <cmath>

#include "../core/blas.h"
#include "../core/finite.h"
#include "../dense/batch.h"
#include "../kernels.h"
#include "dense_checks.h"
#include "dense_checks.h"

namespace osc {
namespace {

template <class Real>
Status orthonormal(const OrthonormalRowsArgs& args, int64_t m, int64_t n, int64_t item) {
  const Real* x = data<Real>(args.x) + item * m * n;
  Real* y = data<Real>(args.y) + item * m * n;
  if (!all_finite(x, m * n)) {
    int64_t at = 0;
    while (std::isfinite(x[at])) ++at;
    return fail(OSC_NON_FINITE, item * m * n + at, "matrix %lld has NaN or Inf", static_cast<long long>(item));
  }
  const auto tau = workspace<Real>(m), work = workspace<Real>(64 * m);
  std::copy_n(x, m * n, y);
  orthonormalize(m, n, y, n, tau.get(), work.get());
  return ok();
}

}  // namespace

Status orthonormal_rows(OrthonormalRowsArgs& args, const Context& context) {
  const Tensor& x = args.x;
  if (x.rank < 2 || (x.dtype != OSC_FLOAT32 && x.dtype != OSC_FLOAT64) || !is_contiguous(x)) {
    return fail(OSC_ARGUMENT, 0, "x must be contiguous float32 or float64 [..., m, n]");
  }
  const int64_t m = x.shape[x.rank - 2], n = x.shape[x.rank - 1];
  if (m > n || m > INT32_MAX / 64) return fail(OSC_ARGUMENT, 0, "x must have no more rows than columns, and fewer than 2^25");
  if (!is_batch(args.y, x, x.dtype, m, n)) return fail(OSC_ARGUMENT, 0, "y must be like x");
  if (m == 0) return ok();
  return for_each_matrix(batch_of(x), context, [&](int64_t item) {
    return x.dtype == OSC_FLOAT32 ? orthonormal<float>(args, m, n, item) : orthonormal<double>(args, m, n, item);
  });
}

}  // namespace osc
