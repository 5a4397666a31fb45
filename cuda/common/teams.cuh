// Kernels that work row by row: a row belongs to a team of threads, a warp where rows are short and a block where they are long.
#pragma once
#include <limits>

#include "common/gpu.cuh"
#include "common/memory.h"
#include "common/reduce.cuh"
#include "core/elementwise.h"
#include "kernels/rows_check.h"

namespace osc {
namespace {

constexpr int kTeamThreads = 256;
constexpr int64_t kShortRow = 1024;  // elements of a row that a warp takes

// NaN wins, as in the loops of the CPU.
struct LargestElement {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return binary_formula<kMaximum>(a, b);
  }
};

// A team of `size` threads. Reductions are called by all of its threads, give every one the result, and depend on size alone.
template <int size>
struct Team {
  static constexpr int kSize = size;
  static constexpr int kTeams = kTeamThreads / size;  // of a block
  int member;

  template <class T>
  __device__ T sum(T value) const {
    if constexpr (size == kWarp) return warp_sum(value);
    else return block_sum(value);
  }
  template <class T>
  __device__ T largest(T value) const {
    const T lowest = -std::numeric_limits<T>::infinity();
    if constexpr (size == kWarp) return warp_reduce(value, LargestElement());
    else return block_reduce(value, lowest, LargestElement());
  }
};

// f(team, row) for every row of 0..rows-1.
template <int size, class F>
OSC_GLOBAL each_row(F f, int64_t rows) {
  const Team<size> team{static_cast<int>(threadIdx.x) % size};
  const int64_t first = int64_t{blockIdx.x} * Team<size>::kTeams + static_cast<int>(threadIdx.x) / size;
  for (int64_t row = first; row < rows; row += int64_t{gridDim.x} * Team<size>::kTeams) f(team, row);
}

template <class F>
Status launch_rows(const F& f, int64_t rows, int64_t length) {
  constexpr int64_t kMostBlocks = 1 << 20;
  if (rows == 0) return ok();
  if (length > kShortRow) return launch(each_row<kTeamThreads, F>, grid_for(rows, 1, kMostBlocks), kTeamThreads, 0, f, rows);
  return launch(each_row<kWarp, F>, grid_for(rows, kTeamThreads / kWarp, kMostBlocks), kTeamThreads, 0, f, rows);
}

}  // namespace
}  // namespace osc
