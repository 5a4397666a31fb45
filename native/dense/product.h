// Products of large matrices over the thread pool, and of matrices that are known to give a symmetric result.
#pragma once
#include <algorithm>

#include "../core/blas.h"
#include "../core/parallel.h"
#include "symmetric.h"

namespace osc {

inline constexpr int64_t kProductTile = 256;  // rows and columns of a tile of C

// C[m, n] = alpha op(A) op(B) + beta C in tiles. Returns false when cancelled.
template <class Real>
bool product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int64_t m, int64_t n, int64_t k, Real alpha, const Real* a, int64_t lda,
             const Real* b, int64_t ldb, Real beta, Real* c, int64_t ldc, const Context& context) {
  const int64_t across = (n + kProductTile - 1) / kProductTile;
  return parallel_for((m + kProductTile - 1) / kProductTile * across, context, [&](int64_t tile) {
    const int64_t i = tile / across * kProductTile, j = tile % across * kProductTile;
    gemm(ta, tb, std::min(kProductTile, m - i), std::min(kProductTile, n - j), k, alpha,
         a + (ta == CblasNoTrans ? i * lda : i), lda, b + (tb == CblasNoTrans ? j : j * ldb), ldb, beta, c + i * ldc + j, ldc);
  });
}

// Lower half of C[n, n] = alpha op(A) op(B) + beta C, then mirrored: for products that are symmetric, such as those of
// symmetric matrices that commute. A little over half of the work of `product`. Returns false when cancelled.
template <class Real>
bool symmetric_product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int64_t n, int64_t k, Real alpha, const Real* a, int64_t lda,
                       const Real* b, int64_t ldb, Real beta, Real* c, int64_t ldc, const Context& context) {
  const int64_t rows = n >= 1024 ? 256 : 128, tiles = (n + rows - 1) / rows;
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t i = (tiles - 1 - tile) * rows;  // the longest rows first
    const int64_t height = std::min(rows, n - i);
    gemm(ta, tb, height, i + height, k, alpha, a + (ta == CblasNoTrans ? i * lda : i), lda, b, ldb, beta, c + i * ldc, ldc);
  });
  return done && mirror_lower(c, ldc, n, context);
}

}  // namespace osc
