// How much a layer's output changes: the sum over rows of d H d^T for d = w - q, and the same of w (native/kernels/
// quadratic_forms.h).
#pragma once
#include <algorithm>
#include <vector>

#include "common/blas.h"
#include "common/gpu.cuh"
#include "common/index_check.cuh"
#include "common/memory.h"
#include "common/reduce.cuh"
#include "core/context.h"
#include "core/tensor.h"

namespace osc {
namespace {

constexpr int64_t kFormRows = 1024;     // rows of a tile, for D and W each
constexpr int64_t kFormColumns = 1024;  // columns of the Gram matrix a product takes
constexpr int kFormThreads = 256;

// sums[r] += product[r] . d[r, from ..], products and sums in float64. A block a row.
template <class Real>
OSC_GLOBAL add_dots(const Real* product, const Real* d, int64_t columns, int64_t from, int64_t width, double* sums) {
  const int64_t row = blockIdx.x;
  double sum = 0;
  for (int64_t c = threadIdx.x; c < width; c += kFormThreads) {
    sum += static_cast<double>(product[row * kFormColumns + c]) * static_cast<double>(d[row * columns + from + c]);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[row] += sum;
}

// sums[r] += d H d^T of row r of d [m, n]. Half the work of a full product: with H symmetric it is sum over column blocks J of
// (2 d_{>J} H_{>J,J} + d_J H_JJ) . d_J.
template <class Real>
Status quadratic_forms(const Real* d, int64_t m, int64_t n, const Real* gram, int64_t stride, Real* product, double* sums,
                       const Context& context) {
  for (int64_t j = 0; j < n; j += kFormColumns) {
    if (cancelled(context)) return aborted();
    const int64_t width = std::min(kFormColumns, n - j), below = n - j - width;
    const Real* block = gram + j * stride + j;
    OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, m, width, width, 1, d + j, n, block, stride, 0, product, kFormColumns));
    if (below > 0) {
      OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, m, width, below, 2, d + j + width, n, block + width * stride, stride, 1,
                   product, kFormColumns));
    }
    OSC_TRY(launch(add_dots<Real>, dim3(static_cast<unsigned>(m)), dim3(kFormThreads), 0, product, d, n, j, width, sums));
  }
  return ok();
}

// Both sums over the rows named, which are not empty. load(first, count, d) launches what writes d of rows[first ..] to
// d [count, n] and w to the `count` rows after it, in the Gram matrix's dtype.
template <class Real, class Load>
Status sum_forms(const Tensor& gram, const Tensor& rows, Load load, double sums[2], const Context& context) {
  const int64_t count = size_of(rows), n = gram.shape[0], tile = std::min(kFormRows, count);
  DeviceBuffer<Real> d(2 * tile * n), product(2 * tile * kFormColumns);
  DeviceBuffer<double> of_row(2 * count);
  if (!d) return d.status();
  if (!product) return product.status();
  if (!of_row) return of_row.status();
  OSC_TRY(set_zero(of_row.get(), of_row.bytes()));
  for (int64_t first = 0; first < count; first += tile) {
    const int64_t m = std::min(tile, count - first);
    OSC_TRY(load(first, m, d.get()));
    OSC_TRY(quadratic_forms(d.get(), 2 * m, n, data<const Real>(gram), gram.strides[0], product.get(),
                            of_row.get() + 2 * first, context));
  }
  std::vector<double> host(static_cast<size_t>(2 * count));
  OSC_TRY(copy_to_host(host.data(), of_row.get(), of_row.bytes()));
  sums[0] = sums[1] = 0;
  for (int64_t i = 0; i < 2 * count; ++i) {  // of each tile: errors, then references
    const int64_t first = i / (2 * tile) * tile, m = std::min(tile, count - first);
    sums[i - 2 * first < m ? 0 : 1] += host[static_cast<size_t>(i)];
  }
  return ok();
}

inline Status check_rows(const Tensor& rows, int64_t out) {
  int64_t bad;
  int32_t row;
  OSC_TRY(first_out_of_range(data<const int32_t>(rows), size_of(rows), out, &bad, &row));
  return bad < 0 ? ok() : fail(OSC_ARGUMENT, bad, "rows[%lld] is out of range", static_cast<long long>(bad));
}

}  // namespace
}  // namespace osc
