// Lower triangles on the device: small ones packed in shared memory, a block each; large ones are the library's.
#pragma once
#include <climits>

#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/finite.h"

namespace osc {
namespace {

// Up to this order a matrix is one block's work, alone or in a batch: both then have the same bits. 66 KB in float64.
constexpr int kSmall = 128;

OSC_HOST_DEVICE constexpr int packed(int row, int column) { return row * (row + 1) / 2 + column; }

template <class Real>
int packed_bytes(int64_t n) {
  return packed(static_cast<int>(n), 0) * static_cast<int>(sizeof(Real));
}

template <class Real>
__device__ void load_packed(const Real* matrix, int n, Real* triangle) {
  for (int row = 0; row < n; ++row) {
    for (int column = static_cast<int>(threadIdx.x); column <= row; column += static_cast<int>(blockDim.x)) {
      triangle[packed(row, column)] = matrix[row * n + column];
    }
  }
}

// *first = the first row, counted over the batch, with a diagonal that is 0, NaN or Inf.
template <class Real>
OSC_GLOBAL find_bad_diagonal(const Real* t, int64_t n, int64_t rows, unsigned long long* first) {
  const int64_t row = global_thread();
  if (row >= rows) return;
  const Real d = t[row * n + row % n];
  if (d == Real(0) || !is_finite(d)) atomicMin(first, static_cast<unsigned long long>(row));
}

// SINGULAR for the first such row. Waits.
template <class Real>
Status check_diagonal(const Real* t, int64_t n, int64_t batch) {
  if (n == 0 || batch == 0) return ok();
  DeviceBuffer<unsigned long long> first(1);
  if (!first) return first.status();
  unsigned long long row;
  OSC_TRY(set_bytes(first.get(), 0xFF, first.bytes()));
  OSC_TRY(launch(find_bad_diagonal<Real>, dim3(static_cast<unsigned>(blocks_for(n * batch, 256))), dim3(256), 0, t, n, n * batch,
                 first.get()));
  OSC_TRY(read_value(first.get(), &row));
  if (row == ULLONG_MAX) return ok();
  const int64_t at = static_cast<int64_t>(row);
  Real value;
  OSC_TRY(read_value(t + at * n + at % n, &value));
  return fail(OSC_SINGULAR, at, "the triangular matrix has %g on its diagonal in row %lld", static_cast<double>(value),
              static_cast<long long>(at % n));
}

// lower = the lower half of a with `shift` on the diagonal, zeros above. A block a row of the batch.
template <class Real>
OSC_GLOBAL copy_lower_rows(const Real* a, int64_t n, int64_t rows, Real shift, Real* lower) {
  for (int64_t at = blockIdx.x; at < rows; at += gridDim.x) {
    const int64_t row = at % n;
    for (int64_t j = threadIdx.x; j < n; j += blockDim.x) {
      const Real value = j <= row ? a[at * n + j] : Real(0);
      lower[at * n + j] = j == row ? value + shift : value;
    }
  }
}

template <class Real>
Status copy_lower(const Real* a, int64_t n, int64_t batch, Real shift, Real* lower) {
  if (n == 0 || batch == 0) return ok();
  return launch(copy_lower_rows<Real>, dim3(grid_for(n * batch, 1, 65535)), dim3(128), 0, a, n, n * batch, shift, lower);
}

}  // namespace
}  // namespace osc
