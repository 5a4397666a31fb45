// This work is based on: E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh, "GPTQ: Accurate Post-Training Quantization for
// Generative Pre-trained Transformers", 2022. Ours: one Cholesky of the reversed matrix and no inverse.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <vector>

#include "../core/finite.h"
#include "../core/parallel.h"
#include "checks.h"
#include "panel_cholesky.h"

namespace osc {
namespace {

constexpr int64_t kRowTile = 64;  // rows per tile of the check
constexpr float kNegligible = 1e-20F;

template <class Real, class H>
Status factorize(GptqFactorArgs& args, const H* gram, int64_t ldh, double damping, const Context& context) {
  const int64_t n = args.gram.shape[0];
  const int32_t* order = data<int32_t>(args.order);
  const uint8_t* dead = data<uint8_t>(args.dead);
  using Cholesky = PanelCholesky<Real>;
  Cholesky cholesky(n);
  if (!cholesky) return fail(OSC_OUT_OF_MEMORY, cholesky.bytes(), "no memory for the factorization");

  // Row i of P H P with P the reversal of the processing order, damped; dead columns are unit vectors.
  const auto load = [&](int64_t i, int64_t from, int64_t to, Real* row) {
    const int64_t column = order[n - 1 - i];
    const H* source = gram + column * ldh;
    if (args.act_order) {
      for (int64_t k = from; k < to; ++k) row[k - from] = static_cast<Real>(source[order[n - 1 - k]]);
    } else {
      for (int64_t k = from; k < to; ++k) row[k - from] = static_cast<Real>(source[n - 1 - k]);
    }
    if (args.dead_columns > 0) {
      for (int64_t k = from; k < to; ++k) {
        if (dead[column] || dead[order[n - 1 - k]]) row[k - from] = k == i ? Real(1) : Real(0);
      }
    }
    if (i < to) row[i - from] += static_cast<Real>(damping);
  };

  // N_ij = R_ij / R_jj, rows and columns reversed.
  float* factor = data<float>(args.factor);
  const int64_t ldn = args.factor.strides[0];
  const Real* inverse = cholesky.inverse_diagonal();
  const auto store = [&](int64_t i, int64_t from, int64_t to, const Real* row) {
    float* target = factor + (n - 1 - i) * ldn + (n - 1);
    for (int64_t k = from; k < std::min(i, to); ++k) {
      // Entries that no float32 sum can notice become zero: as subnormal numbers they make every product 10 times slower.
      const float value = static_cast<float>(row[k - from] * inverse[k]);
      target[-k] = std::fabs(value) < kNegligible ? 0.0F : value;
    }
  };

  const int64_t failed = cholesky.factor(context, load, store);
  if (failed == Cholesky::kCancelled) return aborted();
  if (failed != Cholesky::kNone) {
    const int64_t column = order[n - 1 - failed];
    return fail(OSC_NOT_POSITIVE_DEFINITE, column,
                "the matrix with damping %.6g is not positive definite: the pivot of column %lld failed", damping,
                static_cast<long long>(column));
  }
  double* diagonal = data<double>(args.diagonal);
  for (int64_t j = 0; j < n; ++j) diagonal[j] = static_cast<double>(cholesky.diagonal(n - 1 - j));
  return ok();
}

template <class H>
Status with_gram(GptqFactorArgs& args, const H* gram, const Context& context) {
  const int64_t n = args.gram.shape[0], ldh = args.gram.strides[0];
  int32_t* order = data<int32_t>(args.order);
  uint8_t* dead = data<uint8_t>(args.dead);
  std::vector<double> diag(static_cast<size_t>(n));

  // One NaN or Inf would make every entry of the factor one.
  std::atomic<int64_t> bad{INT64_MAX};
  const bool done = parallel_for((n + kRowTile - 1) / kRowTile, context, [&](int64_t tile) {
    for (int64_t i = tile * kRowTile; i < std::min(n, (tile + 1) * kRowTile); ++i) {
      const H* row = gram + i * ldh;
      diag[static_cast<size_t>(i)] = static_cast<double>(row[i]);
      if (all_finite(row, n)) continue;
      int64_t j = 0;
      while (std::isfinite(row[j])) ++j;
      int64_t seen = bad.load();
      while (i * n + j < seen && !bad.compare_exchange_weak(seen, i * n + j)) {
      }
    }
  });
  if (!done) return aborted();
  if (bad.load() != INT64_MAX) {
    return fail(OSC_NON_FINITE, bad.load(), "the matrix has NaN or Inf at row %lld, column %lld",
                static_cast<long long>(bad.load() / n), static_cast<long long>(bad.load() % n));
  }

  double sum = 0;
  args.dead_columns = 0;
  for (int64_t j = 0; j < n; ++j) {
    double& d = diag[static_cast<size_t>(j)];
    dead[j] = d == 0;
    if (dead[j]) {
      d = 1;
      ++args.dead_columns;
    }
    sum += d;
  }
  std::iota(order, order + n, 0);
  if (args.act_order) {
    std::stable_sort(order, order + n,
                     [&](int32_t a, int32_t b) { return diag[static_cast<size_t>(a)] > diag[static_cast<size_t>(b)]; });
  }
  args.damping = n ? args.damp_percent * sum / static_cast<double>(n) : 0.0;
  return args.precision == 32 ? factorize<float>(args, gram, ldh, args.damping, context)
                              : factorize<double>(args, gram, ldh, args.damping, context);
}

}  // namespace

Status gptq_factor(GptqFactorArgs& args, const Context& context) {
  const Tensor& gram = args.gram;
  OSC_TRY(check(args));
  return gram.dtype == OSC_FLOAT32 ? with_gram(args, data<float>(gram), context)
                                   : with_gram(args, data<double>(gram), context);
}

}  // namespace osc
