#include <vector>

#include "common/blas.h"
#include "common/probes.cuh"
#include "common/symmetric.cuh"
#include "kernels.h"
#include "kernels/dense_checks.h"

namespace osc {
namespace {

// scaled [batch, n, k] = diag(values) Z.
template <class Real>
OSC_GLOBAL scale_probes(const Real* values, const Real* z, int64_t n, int64_t k, int64_t size, Real* scaled) {
  const int64_t at = global_thread();
  if (at < size) scaled[at] = values[at / k] * z[at % (n * k)];
}

// |A V - V diag(values)|_F / |A|_F for each matrix; a is symmetric to the last bit.
template <class Real>
Status residuals_of(const Real* a, const Real* values, const Real* v, int64_t n, int64_t batch, double* residuals) {
  const Probes<Real> probes(n);
  OSC_TRY(probes.status());
  const int64_t k = probes.count(), size = probes.size();
  DeviceBuffer<Real> vz(batch * size), scaled(batch * size), r(batch * size);
  for (const DeviceBuffer<Real>* buffer : {&vz, &scaled, &r}) OSC_TRY(buffer->status());
  OSC_TRY(gemm_batched(Transpose::kNo, Transpose::kNo, n, k, n, 1, v, n, n * n, probes.get(), k, 0, 0, vz.get(), k, size, batch));
  OSC_TRY(gemm_batched(Transpose::kNo, Transpose::kNo, n, k, n, 1, a, n, n * n, vz.get(), k, size, 0, r.get(), k, size, batch));
  OSC_TRY(launch(scale_probes<Real>, dim3(static_cast<unsigned>(blocks_for(batch * size, 256))), dim3(256), 0, values,
                 probes.get(), n, k, batch * size, scaled.get()));
  OSC_TRY(gemm_batched(Transpose::kNo, Transpose::kNo, n, k, n, -1, v, n, n * n, scaled.get(), k, size, 1, r.get(), k, size, batch));
  OSC_TRY(probes.norms(r.get(), batch, false, residuals));
  std::vector<Real> host(static_cast<size_t>(batch * n));
  OSC_TRY(copy_to_host(host.data(), values, batch * n * static_cast<int64_t>(sizeof(Real))));
  for (int64_t item = 0; item < batch; ++item) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double value = static_cast<double>(host[static_cast<size_t>(item * n + i)]);
      squares += value * value;
    }
    if (squares > 0) residuals[item] /= std::sqrt(squares);
  }
  return ok();
}

template <class Real>
Status decompose(EighArgs& args, int64_t n, int64_t batch, const Context& context) {
  const Real* a = data<const Real>(args.a);
  Real *values = data<Real>(args.values), *vectors = data<Real>(args.vectors);
  DeviceBuffer<Real> symmetric(batch * n * n), rows(n * n);
  DeviceBuffer<int32_t> info(1);
  if (!symmetric) return symmetric.status();
  if (!rows) return rows.status();
  if (!info) return info.status();
  std::vector<Status> verdicts;
  OSC_TRY(look_at_symmetric(a, n, batch, symmetric.get(), &verdicts));
  for (int64_t item = 0; item < batch; ++item) {
    OSC_TRY(verdicts[static_cast<size_t>(item)]);
    if (cancelled(context)) return aborted();
    OSC_TRY(copy_on_device(rows.get(), symmetric.get() + item * n * n, rows.bytes()));
    OSC_TRY(syevd(n, rows.get(), n, values + item * n, info.get()));
    int32_t failed;
    OSC_TRY(read_value(info.get(), &failed));
    if (failed != 0) {
      return fail(OSC_NOT_CONVERGED, item, "an eigenvalue of matrix %lld was not found", static_cast<long long>(item));
    }
    OSC_TRY(transpose_square(rows.get(), n, 1, vectors + item * n * n));
  }
  std::vector<double> residuals(static_cast<size_t>(batch));
  OSC_TRY(residuals_of(symmetric.get(), values, vectors, n, batch, residuals.data()));
  args.residual = worst_of(residuals);
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status eigh(EighArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = order_of(args.a), batch = batch_of(args.a);
  args.residual = 0;
  if (n == 0 || batch == 0) return ok();
  return args.a.dtype == OSC_FLOAT32 ? decompose<float>(args, n, batch, context) : decompose<double>(args, n, batch, context);
}

}  // namespace osc
