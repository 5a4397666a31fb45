#include <vector>

#include "common/blas.h"
#include "common/symmetric.cuh"
#include "common/triangle.cuh"
#include "kernels.h"
#include "kernels/dense_checks.h"

namespace osc {
namespace {

// One small matrix a block, column by column. failed[item]: 0, or the order of the first minor that is not positive.
template <class Real>
OSC_GLOBAL __launch_bounds__(kSmall) factor_small(const Real* a, int n, Real shift, Real* factor, int32_t* failed) {
  Real* s = dynamic_shared<Real>();
  const int64_t item = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  a += item * n * n;
  factor += item * n * n;
  load_packed(a, n, s);
  __syncthreads();
  for (int i = thread; i < n; i += kSmall) s[packed(i, i)] += shift;
  __syncthreads();
  for (int j = 0; j < n; ++j) {
    const Real pivot = s[packed(j, j)];
    if (!(pivot > Real(0))) {
      if (thread == 0) failed[item] = j + 1;
      return;
    }
    const Real root = static_cast<Real>(sqrt(pivot));
    const int row = j + 1 + thread;  // one at most: n <= kSmall
    if (row < n) s[packed(row, j)] /= root;
    __syncthreads();
    if (thread == 0) s[packed(j, j)] = root;
    if (row < n) {
      const Real own = s[packed(row, j)];
      for (int k = j + 1; k <= row; ++k) s[packed(row, k)] -= own * s[packed(k, j)];
    }
    __syncthreads();
  }
  for (int row = 0; row < n; ++row) {
    for (int column = thread; column < n; column += kSmall) factor[row * n + column] = column <= row ? s[packed(row, column)] : Real(0);
  }
  if (thread == 0) failed[item] = 0;
}

// What a library lets through: a pivot that is NaN. failed as above.
template <class Real>
OSC_GLOBAL find_bad_pivot(const Real* factor, int64_t n, int32_t* failed) {
  const int64_t i = global_thread();
  if (i < n && !(factor[i * n + i] > Real(0))) atomicMin(failed, static_cast<int32_t>(i + 1));
}

template <class Real>
Status factor_large(Real* factor, int64_t n, int32_t* failed, int32_t* result) {
  int32_t info;
  OSC_TRY(potrf(n, factor, n, failed));
  OSC_TRY(read_value(failed, &info));
  if (info == 0) {
    OSC_TRY(set_bytes(failed, 0x7F, sizeof *failed));
    OSC_TRY(launch(find_bad_pivot<Real>, dim3(static_cast<unsigned>(blocks_for(n, 256))), dim3(256), 0, factor, n, failed));
    OSC_TRY(read_value(failed, &info));
    if (info > n) info = 0;
  }
  *result = info;
  return ok();
}

template <class Real>
Status factorize(const CholeskyArgs& args, int64_t n, int64_t batch, const Context& context) {
  const Real* a = data<const Real>(args.a);
  Real* factor = data<Real>(args.factor);
  const Real shift = static_cast<Real>(args.shift);
  std::vector<Status> verdicts;
  OSC_TRY(look_at_symmetric(a, n, batch, static_cast<Real*>(nullptr), &verdicts));
  if (cancelled(context)) return aborted();
  DeviceBuffer<int32_t> info(batch);
  if (!info) return info.status();
  std::vector<int32_t> failed(static_cast<size_t>(batch), 0);
  if (n <= kSmall) {
    OSC_TRY(launch(factor_small<Real>, dim3(static_cast<unsigned>(batch)), dim3(kSmall), packed_bytes<Real>(n), a,
                   static_cast<int>(n), shift, factor, info.get()));
    OSC_TRY(copy_to_host(failed.data(), info.get(), info.bytes()));
  } else {
    OSC_TRY(copy_lower(a, n, batch, shift, factor));
    for (int64_t item = 0; item < batch; ++item) {
      if (cancelled(context)) return aborted();
      if (verdicts[static_cast<size_t>(item)].code != OSC_OK) break;
      OSC_TRY(factor_large(factor + item * n * n, n, info.get(), &failed[static_cast<size_t>(item)]));
      if (failed[static_cast<size_t>(item)] != 0) break;
    }
  }
  for (int64_t item = 0; item < batch; ++item) {
    if (verdicts[static_cast<size_t>(item)].code != OSC_OK) return verdicts[static_cast<size_t>(item)];
    const int64_t order = failed[static_cast<size_t>(item)];
    if (order == 0) continue;
    return fail(OSC_NOT_POSITIVE_DEFINITE, item * n + order - 1,
                "the matrix is not positive definite: its leading minor of order %lld is not positive",
                static_cast<long long>(order));
  }
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status cholesky(CholeskyArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = order_of(args.a), batch = batch_of(args.a);
  if (n == 0 || batch == 0) return ok();
  return args.a.dtype == OSC_FLOAT32 ? factorize<float>(args, n, batch, context) : factorize<double>(args, n, batch, context);
}

}  // namespace osc
