#include <vector>

#include "common/blas.h"
#include "common/probes.cuh"
#include "common/symmetric.cuh"
#include "common/triangle.cuh"
#include "kernels.h"
#include "kernels/dense_checks.h"

namespace osc {
namespace {

// One small matrix a block: X = L^-1 in the place of L, from the last column on, then X^T X. A thread a row.
template <class Real>
OSC_GLOBAL __launch_bounds__(kSmall) invert_small(const Real* factor, int n, Real* inverse) {
  Real* s = dynamic_shared<Real>();
  const int64_t item = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  load_packed(factor + item * n * n, n, s);
  inverse += item * n * n;
  __syncthreads();
  for (int j = n - 1; j >= 0; --j) {
    const Real own = Real(1) / s[packed(j, j)];
    const int row = j + 1 + thread;  // one at most: n <= kSmall
    Real sum = 0;
    if (row < n) {
      for (int k = j + 1; k <= row; ++k) sum += s[packed(row, k)] * s[packed(k, j)];
    }
    __syncthreads();
    if (row < n) s[packed(row, j)] = -sum * own;
    if (thread == 0) s[packed(j, j)] = own;
    __syncthreads();
  }
  for (int i = 0; i < n; ++i) {
    for (int j = thread; j <= i; j += kSmall) {
      Real sum = 0;
      for (int k = i; k < n; ++k) sum += s[packed(k, i)] * s[packed(k, j)];
      inverse[i * n + j] = sum;
      inverse[j * n + i] = sum;
    }
  }
}

// |L L^T inverse - I|_F / sqrt(n) for each matrix; l has zeros above the diagonal.
template <class Real>
Status residuals_of(const Real* l, const Real* inverse, int64_t n, int64_t batch, double* residuals) {
  const Probes<Real> probes(n);
  OSC_TRY(probes.status());
  const int64_t k = probes.count(), size = probes.size();
  DeviceBuffer<Real> y(batch * size), z(batch * size);
  if (!y) return y.status();
  if (!z) return z.status();
  OSC_TRY(gemm_batched(Transpose::kNo, Transpose::kNo, n, k, n, 1, inverse, n, n * n, probes.get(), k, 0, 0, y.get(), k, size, batch));
  OSC_TRY(gemm_batched(Transpose::kYes, Transpose::kNo, n, k, n, 1, l, n, n * n, y.get(), k, size, 0, z.get(), k, size, batch));
  OSC_TRY(gemm_batched(Transpose::kNo, Transpose::kNo, n, k, n, 1, l, n, n * n, z.get(), k, size, 0, y.get(), k, size, batch));
  OSC_TRY(probes.norms(y.get(), batch, true, residuals));
  for (int64_t item = 0; item < batch; ++item) residuals[item] /= std::sqrt(static_cast<double>(n));
  return ok();
}

template <class Real>
Status invert(CholeskyInverseArgs& args, int64_t n, int64_t batch, const Context& context) {
  const Real* factor = data<const Real>(args.factor);
  Real* inverse = data<Real>(args.inverse);
  OSC_TRY(check_diagonal(factor, n, batch));
  DeviceBuffer<Real> l(batch * n * n);
  if (!l) return l.status();
  OSC_TRY(copy_lower(factor, n, batch, Real(0), l.get()));
  if (n <= kSmall) {
    OSC_TRY(launch(invert_small<Real>, dim3(static_cast<unsigned>(batch)), dim3(kSmall), packed_bytes<Real>(n), factor,
                   static_cast<int>(n), inverse));
  } else {
    DeviceBuffer<Real> x(n * n);
    if (!x) return x.status();
    for (int64_t item = 0; item < batch; ++item) {
      if (cancelled(context)) return aborted();
      OSC_TRY(copy_on_device(x.get(), l.get() + item * n * n, x.bytes()));
      OSC_TRY(trtri(n, x.get(), n));
      OSC_TRY(syrk(Transpose::kYes, n, n, 1, x.get(), n, 0, inverse + item * n * n, n));
    }
    OSC_TRY(mirror_lower(inverse, n, batch));
  }
  std::vector<double> residuals(static_cast<size_t>(batch));
  OSC_TRY(residuals_of(l.get(), inverse, n, batch, residuals.data()));
  args.residual = worst_of(residuals);
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status cholesky_inverse(CholeskyInverseArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = order_of(args.factor), batch = batch_of(args.factor);
  args.residual = 0;
  if (n == 0 || batch == 0) return ok();
  return args.factor.dtype == OSC_FLOAT32 ? invert<float>(args, n, batch, context) : invert<double>(args, n, batch, context);
}

}  // namespace osc
