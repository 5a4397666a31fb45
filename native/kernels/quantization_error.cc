#include <algorithm>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

constexpr int64_t kRows = 64;      // rows of a tile, for D and W each
constexpr int64_t kColumns = 256;  // columns of the Gram matrix a product takes

// d H d^T summed over the rows of d[m, n], for two blocks of m rows at once. Half the work of a full product:
// with H symmetric it is sum over column blocks J of (2 d_{>J} H_{>J,J} + d_J H_JJ) . d_J.
template <class Real>
void quadratic_forms(const Real* d, int64_t m, int64_t n, const Real* gram, int64_t stride, Real* product, double sums[2]) {
  const int64_t both = 2 * m;
  for (int64_t j = 0; j < n; j += kColumns) {
    const int64_t width = std::min(kColumns, n - j), below = n - j - width;
    const Real* block = gram + j * stride + j;
    gemm(CblasNoTrans, CblasNoTrans, both, width, width, Real(1), d + j, n, block, stride, Real(0), product, kColumns);
    if (below > 0) {
      gemm(CblasNoTrans, CblasNoTrans, both, width, below, Real(2), d + j + width, n, block + width * stride, stride, Real(1),
           product, kColumns);
    }
    for (int64_t r = 0; r < both; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) {
        sum += static_cast<double>(product[r * kColumns + c]) * static_cast<double>(d[r * n + j + c]);
      }
      sums[r / m] += sum;
    }
  }
}

template <class Real>
Status sum_forms(QuantizationErrorArgs& args, int64_t n, const Context& context) {
  const int64_t count = size_of(args.rows), out = args.weight.shape[0];
  const int64_t tiles = (count + kRows - 1) / kRows;
  const int64_t workers = std::min<int64_t>(thread_count(), tiles);
  const int64_t rows_size = 2 * kRows * n, workspace = rows_size + 2 * kRows * kColumns;
  Buffer<Real> buffer(workers * workspace);
  if (!buffer) return fail(OSC_OUT_OF_MEMORY, buffer.bytes(), "no memory for the workspace of the error");
  std::vector<double> sums(static_cast<size_t>(2 * tiles));
  Slots slots(workers);
  const int32_t *rows = data<int32_t>(args.rows), *group_index = data<int32_t>(args.group_index);
  const float *weight = data<float>(args.weight), *scales = data<float>(args.scales);
  const uint8_t *codes = data<uint8_t>(args.codes), *zeros = data<uint8_t>(args.zeros);
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t slot = slots.take(), m = std::min(kRows, count - tile * kRows);
    Real *error = buffer.get() + slot * workspace, *reference = error + m * n;
    for (int64_t r = 0; r < m; ++r) {
      const int64_t row = rows[tile * kRows + r];
      for (int64_t i = 0; i < n; ++i) {
        const int64_t grid = group_index[i] * out + row;
        const float w = weight[row * args.weight.strides[0] + i];
        const float q = scales[grid] * static_cast<float>(codes[row * n + i] - zeros[grid]);
        error[r * n + i] = static_cast<Real>(w) - static_cast<Real>(q);
        reference[r * n + i] = static_cast<Real>(w);
      }
    }
    quadratic_forms(error, m, n, data<Real>(args.gram), args.gram.strides[0], error + rows_size,
                    sums.data() + 2 * tile);
    slots.give(slot);
  });
  if (!done) return aborted();
  for (int64_t tile = 0; tile < tiles; ++tile) {
    args.error += sums[static_cast<size_t>(2 * tile)];
    args.reference += sums[static_cast<size_t>(2 * tile + 1)];
  }
  return ok();
}

// Shapes, and every index that is used to find an element.
Status check(const QuantizationErrorArgs& args, int64_t n) {
  const Tensor &weight = args.weight, &scales = args.scales;
  const int64_t out = weight.rank == 2 ? weight.shape[0] : 0;
  const bool fits = args.gram.rank == 2 && args.gram.shape[0] == n && args.gram.shape[1] == n &&
                    (args.gram.strides[1] == 1 || n <= 1) && weight.rank == 2 && weight.dtype == OSC_FLOAT32 &&
                    weight.shape[1] == n && (weight.strides[1] == 1 || n <= 1) && is_contiguous(args.codes) &&
                    args.codes.dtype == OSC_UINT8 && size_of(args.codes) == out * n && scales.rank == 2 &&
                    scales.dtype == OSC_FLOAT32 && scales.shape[1] == out && is_contiguous(scales) &&
                    args.zeros.dtype == OSC_UINT8 && is_contiguous(args.zeros) && size_of(args.zeros) == size_of(scales) &&
                    args.group_index.dtype == OSC_INT32 && is_contiguous(args.group_index) &&
                    size_of(args.group_index) == n && args.rows.dtype == OSC_INT32 && is_contiguous(args.rows);
  if (!fits) return fail(OSC_ARGUMENT, 0, "tensors do not fit the contract of quantization_error");
  for (int64_t i = 0; i < n; ++i) {
    const int32_t group = data<int32_t>(args.group_index)[i];
    if (group < 0 || group >= scales.shape[0]) return fail(OSC_ARGUMENT, i, "group_index[%lld] is out of range", static_cast<long long>(i));
  }
  for (int64_t i = 0; i < size_of(args.rows); ++i) {
    const int32_t row = data<int32_t>(args.rows)[i];
    if (row < 0 || row >= out) return fail(OSC_ARGUMENT, i, "rows[%lld] is out of range", static_cast<long long>(i));
  }
  return ok();
}

}  // namespace

Status quantization_error(QuantizationErrorArgs& args, const Context& context) {
  const int64_t n = size_of(args.group_index);
  OSC_TRY(check(args, n));
  args.error = args.reference = 0;
  if (n == 0 || size_of(args.rows) == 0) return ok();
  if (args.gram.dtype == OSC_FLOAT64) return sum_forms<double>(args, n, context);
  if (args.gram.dtype == OSC_FLOAT32) return sum_forms<float>(args, n, context);
  return fail(OSC_ARGUMENT, 0, "gram must be float32 or float64");
}

}  // namespace osc
