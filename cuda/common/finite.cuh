// Where the first NaN or Inf of a matrix is.
#pragma once
#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/finite.h"

namespace osc {
namespace {

constexpr int kFiniteThreads = 256;
constexpr int kFiniteEach = 8;  // elements of a thread, a block apart from each other

template <class Real>
OSC_GLOBAL find_first_bad(const Real* x, int64_t rows, int64_t columns, int64_t stride, unsigned long long* first) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kFiniteThreads * kFiniteEach + threadIdx.x;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    for (int k = 0; k < kFiniteEach; ++k) {
      const int64_t column = start + k * kFiniteThreads;
      if (column >= columns) break;
      if (is_finite(x[row * stride + column])) continue;
      atomicMin(first, static_cast<unsigned long long>(row * columns + column));
      break;
    }
  }
}

// `position` is row * columns + column of the first that is not finite, or -1. Waits for the device.
template <class Real>
Status first_non_finite(const Real* x, int64_t rows, int64_t columns, int64_t stride, int64_t* position) {
  *position = -1;
  if (rows == 0 || columns == 0) return ok();
  if (stride == columns || rows == 1) {
    columns *= rows;
    rows = 1;
  }
  DeviceBuffer<unsigned long long> first(1);
  if (!first) return first.status();
  OSC_TRY(set_bytes(first.get(), 0xFF, sizeof(unsigned long long)));
  const dim3 grid(static_cast<unsigned>(blocks_for(columns, kFiniteThreads * kFiniteEach)),
                  static_cast<unsigned>(rows < 65535 ? rows : 65535));
  OSC_TRY(launch(find_first_bad<Real>, grid, dim3(kFiniteThreads), 0, x, rows, columns, stride, first.get()));
  unsigned long long found;
  OSC_TRY(read_value(first.get(), &found));
  if (found != ~0ULL) *position = static_cast<int64_t>(found);
  return ok();
}

}  // namespace
}  // namespace osc
