#include <algorithm>
#include <cmath>
#include <vector>

#include "../dense/spectral_root.h"
#include "../kernels.h"
#include "dense_checks.h"

namespace osc {
namespace {

// |A V - V diag(values)|_F / |A|_F.
template <class Real>
double residual_of(const Real* a, int64_t lda, const Real* values, const Real* v, int64_t n, const Context& context) {
  if (n == 0) return 0;
  const Probes<Real> probes(n);
  const int64_t k = probes.count();
  const auto vz = workspace<Real>(n * k), scaled = workspace<Real>(n * k), r = workspace<Real>(n * k);
  double size = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<double>(values[i]);
    size += value * value;
    for (int64_t j = 0; j < k; ++j) scaled[i * k + j] = values[i] * probes.get()[i * k + j];
  }
  const bool done =
      product(CblasNoTrans, CblasNoTrans, n, k, n, Real(1), v, n, probes.get(), k, Real(0), vz.get(), k, context) &&
      product(CblasNoTrans, CblasNoTrans, n, k, n, Real(1), a, lda, vz.get(), k, Real(0), r.get(), k, context) &&
      product(CblasNoTrans, CblasNoTrans, n, k, n, Real(-1), v, n, scaled.get(), k, Real(1), r.get(), k, context);
  return done ? probes.norm(r.get(), false) / (size > 0 ? std::sqrt(size) : 1.0) : NAN;
}

template <class Real>
Status decompose(const EighArgs& args, int64_t n, int64_t item, double& residual, const Context& context) {
  const int64_t ld = padded_stride(n);
  const auto a = workspace<Real>(n * ld), copy = workspace<Real>(n * ld), e = workspace<Real>(n * ld);
  OSC_TRY(copy_symmetric(data<Real>(args.a) + item * n * n, n, n, item * n * n, a.get(), ld, context));
  std::copy_n(a.get(), n * ld, copy.get());
  Real *values = data<Real>(args.values) + item * n, *v = data<Real>(args.vectors) + item * n * n;
  const OscCode code = eigendecompose(n, copy.get(), ld, values, e.get(), ld, context);
  if (code == OSC_ABORTED) return aborted();
  if (code != OSC_OK) return fail(code, item, "an eigenvalue of matrix %lld was not found", static_cast<long long>(item));
  const bool done = parallel_for((n + kMirrorBlock - 1) / kMirrorBlock, context, [&](int64_t block) {
    const int64_t i = block * kMirrorBlock, rows = std::min(kMirrorBlock, n - i);
    for (int64_t j = 0; j < n; j += kMirrorBlock) {
      transpose_block(e.get() + j * ld + i, ld, std::min(kMirrorBlock, n - j), rows, v + i * n + j, n);
    }
  });
  if (!done) return aborted();
  residual = residual_of(a.get(), ld, values, v, n, context);
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status eigh(EighArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& a = args.a;
  const int64_t n = order_of(a), batch = batch_of(a);
  std::vector<double> residuals(static_cast<size_t>(batch), 0.0);
  OSC_TRY(for_each_matrix(batch, context, [&](int64_t item) {
    double& residual = residuals[static_cast<size_t>(item)];
    return a.dtype == OSC_FLOAT32 ? decompose<float>(args, n, item, residual, context)
                                  : decompose<double>(args, n, item, residual, context);
  }));
  args.residual = worst_of(residuals);
  return ok();
}

}  // namespace osc
