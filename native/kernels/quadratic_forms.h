// How much a layer's output changes: the sum over rows of d H d^T for d = w - q, and the same of w. Shared by
// quantization_error and weight_error, which differ in where q comes from.
#pragma once
#include <algorithm>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "../core/status.h"
#include "../core/tensor.h"
#include "gram_accumulate.h"

namespace osc {

inline constexpr int64_t kFormRows = 64;      // rows of a tile, for D and W each
inline constexpr int64_t kFormColumns = 256;  // columns of the Gram matrix a product takes

// d H d^T summed over the rows of d[m, n], for two blocks of m rows at once. Half the work of a full product:
// with H symmetric it is sum over column blocks J of (2 d_{>J} H_{>J,J} + d_J H_JJ) . d_J.
template <class Real>
void quadratic_forms(const Real* d, int64_t m, int64_t n, const Real* gram, int64_t stride, Real* product, double sums[2]) {
  const int64_t both = 2 * m;
  for (int64_t j = 0; j < n; j += kFormColumns) {
    const int64_t width = std::min(kFormColumns, n - j), below = n - j - width;
    const Real* block = gram + j * stride + j;
    gemm(CblasNoTrans, CblasNoTrans, both, width, width, Real(1), d + j, n, block, stride, Real(0), product, kFormColumns);
    if (below > 0) {
      gemm(CblasNoTrans, CblasNoTrans, both, width, below, Real(2), d + j + width, n, block + width * stride, stride, Real(1),
           product, kFormColumns);
    }
    for (int64_t r = 0; r < both; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) {
        sum += static_cast<double>(product[r * kFormColumns + c]) * static_cast<double>(d[r * n + j + c]);
      }
      sums[r / m] += sum;
    }
  }
}

// Both sums over the rows named. fill(row, error, reference) writes d and w of a row, n numbers of the Gram matrix's dtype.
template <class Real, class Fill>
Status sum_forms(const Tensor& gram, const Tensor& rows, Fill fill, double sums[2], const Context& context) {
  const int64_t n = gram.shape[0], count = size_of(rows);
  const int64_t tiles = (count + kFormRows - 1) / kFormRows;
  const int64_t workers = std::min<int64_t>(thread_count(), tiles);
  const int64_t rows_size = 2 * kFormRows * n, workspace = rows_size + 2 * kFormRows * kFormColumns;
  Buffer<Real> buffer(workers * workspace);
  if (!buffer) return fail(OSC_OUT_OF_MEMORY, buffer.bytes(), "no memory for the workspace of the error");
  std::vector<double> of_tile(static_cast<size_t>(2 * tiles));
  Slots slots(workers);
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t slot = slots.take(), m = std::min(kFormRows, count - tile * kFormRows);
    Real *error = buffer.get() + slot * workspace, *reference = error + m * n;
    for (int64_t r = 0; r < m; ++r) {
      fill(data<int32_t>(rows)[tile * kFormRows + r], error + r * n, reference + r * n);
    }
    quadratic_forms(error, m, n, data<Real>(gram), gram.strides[0], error + rows_size, of_tile.data() + 2 * tile);
    slots.give(slot);
  });
  if (!done) return aborted();
  sums[0] = sums[1] = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    sums[0] += of_tile[static_cast<size_t>(2 * tile)];
    sums[1] += of_tile[static_cast<size_t>(2 * tile + 1)];
  }
  return ok();
}

// The checks of both kernels: gram [n, n], and rows in 0..out-1.
inline Status check_forms(const Tensor& gram, const Tensor& rows, int64_t n, int64_t out) {
  const bool fits = gram.rank == 2 && gram.shape[0] == n && gram.shape[1] == n && (gram.strides[1] == 1 || n <= 1) &&
                    (gram.dtype == OSC_FLOAT32 || gram.dtype == OSC_FLOAT64) && rows.dtype == OSC_INT32 && is_contiguous(rows);
  if (!fits) return fail(OSC_ARGUMENT, 0, "gram must be [in, in] float32 or float64, rows int32");
  for (int64_t i = 0; i < size_of(rows); ++i) {
    const int32_t row = data<int32_t>(rows)[i];
    if (row < 0 || row >= out) return fail(OSC_ARGUMENT, i, "rows[%lld] is out of range", static_cast<long long>(i));
  }
  return ok();
}

}  // namespace osc
