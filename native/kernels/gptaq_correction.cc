// This work is based on: Y. Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration", 2025; ours:
// with D = 2/N (X_fp - X)^T X and the factor of docs/numerics.md, no inverse is formed and the correction of column j by the
// columns before it is sum_i w_i M_ij, M_ij = alpha T_ij / R_jj^2, T (I + N)^T = D.
#include <algorithm>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"

namespace osc {
namespace {

constexpr int64_t kRows = 64;   // rows of D solved together, side by side
constexpr int64_t kBlock = 64;  // columns between two products

struct Solve {
  int64_t n;
  const float* factor;
  int64_t stride;

  // t [n][kRows], columns `first`.. to n - 1 of D's rows in, of T's out: T_j = D_j - sum_{k>j} T_k N_jk, from the right.
  void run(float* t, int64_t first) const {
    for (int64_t end = n; end > first;) {
      const int64_t start = std::max(first, (end - 1) / kBlock * kBlock);
      if (end < n) {
        gemm(CblasNoTrans, CblasNoTrans, end - start, kRows, n - end, -1.0F, factor + start * stride + end, stride,
             t + end * kRows, kRows, 1.0F, t + start * kRows, kRows);
      }
      for (int64_t j = end - 1; j >= start; --j) {
        float* target = t + j * kRows;
        for (int64_t k = j + 1; k < end; ++k) {
          const float scale = factor[j * stride + k];
          const float* source = t + k * kRows;
          for (int64_t r = 0; r < kRows; ++r) target[r] -= source[r] * scale;
        }
      }
      end = start;
    }
  }
};

template <class Real>
Status correct(GptaqCorrectionArgs& args, const Context& context) {
  const int64_t n = args.cross.shape[0], ldc = args.cross.strides[0], ldm = args.correction.strides[0];
  const Real* cross = data<Real>(args.cross);
  const int32_t* order = data<int32_t>(args.order);
  const uint8_t* dead = data<uint8_t>(args.dead);
  const double* diagonal = data<double>(args.diagonal);
  float* correction = data<float>(args.correction);
  const Solve solve{n, data<float>(args.factor), args.factor.strides[0]};
  std::vector<float> scale(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) scale[static_cast<size_t>(j)] = static_cast<float>(args.alpha / (diagonal[j] * diagonal[j]));
  const int64_t tiles = (n + kRows - 1) / kRows;
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t first = tile * kRows, rows = std::min(kRows, n - first);
    std::vector<float> t(static_cast<size_t>(n * kRows));
    for (int64_t r = 0; r < rows; ++r) {
      const Real* row = cross + order[first + r] * ldc;
      for (int64_t j = first + r + 1; j < n; ++j) {
        if (!dead[order[j]]) t[static_cast<size_t>(j * kRows + r)] = static_cast<float>(static_cast<double>(row[order[j]]) * args.scale);
      }
    }
    // Row i needs columns after i only; the rows of a tile begin at its first.
    solve.run(t.data(), first);
    for (int64_t r = 0; r < rows; ++r) {
      float* target = correction + (first + r) * ldm;
      std::fill_n(target, first + r + 1, 0.0F);
      for (int64_t j = first + r + 1; j < n; ++j) target[j] = t[static_cast<size_t>(j * kRows + r)] * scale[static_cast<size_t>(j)];
    }
  });
  return done ? ok() : aborted();
}

}  // namespace

Status gptaq_correction(GptaqCorrectionArgs& args, const Context& context) {
  OSC_TRY(check(args));
  return args.cross.dtype == OSC_FLOAT64 ? correct<double>(args, context) : correct<float>(args, context);
}

}  // namespace osc
