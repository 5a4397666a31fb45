// This work is based on: E. Frantar et al., "GPTQ", 2022. Ours: one Cholesky of the reversed matrix and no inverse, as on the
// CPU (native/kernels/gptq_factor.cc). Order, dead columns and damping are made on the host: n numbers, once a layer.
#include <algorithm>
#include <numeric>
#include <vector>

#include "common/blas.h"
#include "common/finite.cuh"
#include "common/memory.h"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

constexpr float kNegligible = 1e-20F;  // below it N is stored as zero
constexpr int kThreads = 256;

inline dim3 rows_grid(int64_t n) { return dim3(static_cast<unsigned>(n)); }

template <class H>
OSC_GLOBAL read_diagonal(const H* gram, int64_t stride, int64_t n, double* diagonal) {
  const int64_t i = global_thread();
  if (i < n) diagonal[i] = static_cast<double>(gram[i * stride + i]);
}

// s = P H P in the lower half, P the reversal of the processing order, damped; dead columns are unit vectors. A block a row.
template <class Real, class H>
OSC_GLOBAL reverse_and_damp(const H* gram, int64_t stride, int64_t n, const int32_t* order, const uint8_t* dead,
                            double damping, Real* s) {
  const int64_t i = blockIdx.x, column = order[n - 1 - i];
  const H* row = gram + column * stride;
  const bool dead_row = dead[column] != 0;
  for (int64_t j = threadIdx.x; j <= i; j += kThreads) {
    const int32_t other = order[n - 1 - j];
    Real value = dead_row || dead[other] ? Real(i == j) : static_cast<Real>(row[other]);
    if (i == j) value += static_cast<Real>(damping);
    s[i * n + j] = value;
  }
}

// R_jj and its reciprocal; *failed = the smallest row of s with a pivot that is not positive.
template <class Real>
OSC_GLOBAL read_pivots(const Real* s, int64_t n, double* diagonal, Real* reciprocals, int32_t* failed) {
  const int64_t j = global_thread();
  if (j >= n) return;
  const int64_t row = n - 1 - j;
  const Real pivot = s[row * n + row];
  if (!(pivot > Real(0))) atomicMin(failed, static_cast<int32_t>(row));
  diagonal[j] = static_cast<double>(pivot);
  reciprocals[j] = Real(1) / pivot;
}

// N_ij = R_ij / R_jj for i < j. A block a row; reads and writes run along rows.
template <class Real>
OSC_GLOBAL store_factor(const Real* s, int64_t n, const Real* reciprocals, float* factor, int64_t stride) {
  const int64_t i = blockIdx.x;
  const Real* row = s + (n - 1 - i) * n + (n - 1);
  for (int64_t j = i + 1 + threadIdx.x; j < n; j += kThreads) {
    const float value = static_cast<float>(row[-j] * reciprocals[j]);
    factor[i * stride + j] = fabsf(value) < kNegligible ? 0.0F : value;
  }
}

Status not_positive(const GptqFactorArgs& args, const std::vector<int32_t>& order, int64_t row) {
  const int64_t column = order[order.size() - 1 - static_cast<size_t>(row)];
  return fail(OSC_NOT_POSITIVE_DEFINITE, column,
              "the matrix with damping %.6g is not positive definite: the pivot of column %lld failed", args.damping,
              static_cast<long long>(column));
}

template <class Real, class H>
Status factorize(GptqFactorArgs& args, const std::vector<int32_t>& order, const Context& context) {
  const int64_t n = args.gram.shape[0];
  DeviceBuffer<Real> s(n * n), reciprocals(n);
  DeviceBuffer<int32_t> outcome(2);  // potrf's info; the first row with a bad pivot
  if (!s) return s.status();
  if (!reciprocals) return reciprocals.status();
  if (!outcome) return outcome.status();
  OSC_TRY(launch(reverse_and_damp<Real, H>, rows_grid(n), dim3(kThreads), 0, data<const H>(args.gram), args.gram.strides[0], n,
                 data<const int32_t>(args.order), data<const uint8_t>(args.dead), args.damping, s.get()));
  if (cancelled(context)) return aborted();
  OSC_TRY(set_bytes(outcome.get(), 0x7F, outcome.bytes()));
  OSC_TRY(potrf(n, s.get(), n, outcome.get()));
  OSC_TRY(launch(read_pivots<Real>, dim3(static_cast<unsigned>(blocks_for(n, kThreads))), dim3(kThreads), 0, s.get(), n,
                 data<double>(args.diagonal), reciprocals.get(), outcome.get() + 1));
  OSC_TRY(launch(store_factor<Real>, rows_grid(n), dim3(kThreads), 0, s.get(), n, reciprocals.get(), data<float>(args.factor),
                 args.factor.strides[0]));
  int32_t found[2];
  OSC_TRY(copy_to_host(found, outcome.get(), sizeof found));
  if (found[0] != 0) return not_positive(args, order, found[0] - 1);
  if (found[1] < n) return not_positive(args, order, found[1]);  // NaN passes through a factorization
  return cancelled(context) ? aborted() : ok();
}

// Dead columns, order and damping from the diagonal, as the CPU makes them.
Status prepare(GptqFactorArgs& args, std::vector<double>& diagonal, std::vector<int32_t>& order) {
  const size_t n = diagonal.size();
  std::vector<uint8_t> dead(n);
  double sum = 0;
  args.dead_columns = 0;
  for (size_t j = 0; j < n; ++j) {
    dead[j] = diagonal[j] == 0;
    if (dead[j]) {
      diagonal[j] = 1;
      ++args.dead_columns;
    }
    sum += diagonal[j];
  }
  std::iota(order.begin(), order.end(), 0);
  if (args.act_order) {
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return diagonal[static_cast<size_t>(a)] > diagonal[static_cast<size_t>(b)];
    });
  }
  args.damping = args.damp_percent * sum / static_cast<double>(n);
  OSC_TRY(copy_to_device(args.order.data, order.data(), static_cast<int64_t>(n * sizeof(int32_t))));
  return copy_to_device(args.dead.data, dead.data(), static_cast<int64_t>(n));
}

template <class H>
Status with_gram(GptqFactorArgs& args, const Context& context) {
  const int64_t n = args.gram.shape[0], stride = args.gram.strides[0];
  const H* gram = data<const H>(args.gram);
  int64_t bad;
  OSC_TRY(first_non_finite(gram, n, n, stride, &bad));
  if (bad >= 0) {
    return fail(OSC_NON_FINITE, bad, "the matrix has NaN or Inf at row %lld, column %lld", static_cast<long long>(bad / n),
                static_cast<long long>(bad % n));
  }
  std::vector<double> diagonal(static_cast<size_t>(n));
  std::vector<int32_t> order(static_cast<size_t>(n));
  OSC_TRY(launch(read_diagonal<H>, dim3(static_cast<unsigned>(blocks_for(n, kThreads))), dim3(kThreads), 0, gram, stride, n,
                 data<double>(args.diagonal)));
  OSC_TRY(copy_to_host(diagonal.data(), args.diagonal.data, n * static_cast<int64_t>(sizeof(double))));
  OSC_TRY(prepare(args, diagonal, order));
  return args.precision == 32 ? factorize<float, H>(args, order, context) : factorize<double, H>(args, order, context);
}

}  // namespace

Status gptq_factor(GptqFactorArgs& args, const Context& context) {
  OSC_TRY(check(args));
  if (args.gram.shape[0] == 0) {
    args.damping = 0;
    args.dead_columns = 0;
    return ok();
  }
  return args.gram.dtype == OSC_FLOAT32 ? with_gram<float>(args, context) : with_gram<double>(args, context);
}

}  // namespace osc
