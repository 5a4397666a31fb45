#include "common/flat.cuh"
#include "common/index_check.cuh"
#include "kernels/rows_check.h"

namespace osc {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsEach = 8, kRows = kThreads * kRowsEach;  // rows of y whose positions a block puts in order

// The positions of an index by where they point: those of row r are order[starts[r]..starts[r + 1]), in order.
struct Sorted {
  int32_t *starts, *order;  // [n + 1] and [m], for each list
};

// Block (range of rows, list): all that it writes it finds by reading the whole list, so blocks need not wait for each other.
OSC_GLOBAL sort_positions(const int32_t* indices, int64_t n, int64_t m, int64_t ranges, Sorted sorted) {
  OSC_SHARED(int32_t, next, [kRows]);       // of each row: how many, then where the next one goes
  OSC_SHARED(int32_t, before, [kThreads]);  // sums of the threads' counts
  OSC_SHARED(int32_t, tile, [kThreads]);
  OSC_SHARED(int32_t, below);  // positions of lower ranges
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t list = blockIdx.x / ranges, first = blockIdx.x % ranges * kRows;
  const int rows = static_cast<int>(min(n - first, int64_t{kRows}));
  const int32_t* index = indices + list * m;
  int32_t *starts = sorted.starts + list * (n + 1), *order = sorted.order + list * m;

  for (int r = thread; r < kRows; r += kThreads) next[r] = 0;
  if (thread == 0) below = 0;
  __syncthreads();
  // Counts of integers: the order of the atomics does not matter.
  int32_t lower = 0;
  for (int64_t j = thread; j < m; j += kThreads) {
    const int64_t row = index[j] - first;
    if (row < 0) ++lower;
    else if (row < rows) atomicAdd(&next[row], 1);
  }
  atomicAdd(&below, lower);
  __syncthreads();
  int32_t counts[kRowsEach], own = 0;
  for (int k = 0; k < kRowsEach; ++k) own += counts[k] = next[thread * kRowsEach + k];
  before[thread] = own;
  for (int step = 1; step < kThreads; step *= 2) {
    __syncthreads();
    const int32_t left = thread >= step ? before[thread - step] : 0;
    __syncthreads();
    before[thread] += left;
  }
  int32_t start = below + before[thread] - own;
  for (int k = 0; k < kRowsEach; ++k) {
    const int row = thread * kRowsEach + k;
    next[row] = start;
    if (row < rows) starts[first + row] = start;
    start += counts[k];
  }
  if (thread == 0 && first + rows == n) starts[n] = static_cast<int32_t>(m);

  for (int64_t j0 = 0; j0 < m; j0 += kThreads) {
    const int64_t j = j0 + thread, row = j < m ? index[j] - first : -1;
    const bool mine = row >= 0 && row < rows;
    tile[thread] = mine ? static_cast<int32_t>(row) : -1;
    if (__syncthreads_or(mine) == 0) continue;
    // After those of the same row that come before it in the tile.
    int rank = 0;
    for (int t = 0; mine && t < thread; ++t) rank += tile[t] == row;
    if (mine) order[next[row] + rank] = static_cast<int32_t>(j);
    __syncthreads();
    if (mine) atomicAdd(&next[row], 1);
    __syncthreads();
  }
}

template <class E>
struct SumRows {
  Sorted sorted;
  const E* g;
  E* y;
  int64_t n, m, inner;
  bool shared;  // one list for all of outer

  __device__ void operator()(int64_t i) const {
    const int64_t row = i / inner, o = row / n, list = shared ? 0 : o, r = row - o * n;
    const int32_t *starts = sorted.starts + list * (n + 1), *order = sorted.order + list * m;
    const E* column = g + o * m * inner + (i - row * inner);
    double sum = 0;
    for (int32_t p = starts[r]; p < starts[r + 1]; ++p) sum += static_cast<double>(column[order[p] * inner]);
    y[i] = static_cast<E>(sum);
  }
};

}  // namespace

Status scatter_add(ScatterAddArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &index = args.index, &y = args.y;
  const int64_t n = y.shape[1], m = index.shape[1], lists = index.shape[0];
  int64_t bad;
  int32_t value;
  OSC_TRY(first_out_of_range(data<int32_t>(index), size_of(index), n, &bad, &value));
  if (bad >= 0) return index_out_of_range(bad, value, n);
  if (size_of(y) == 0) return ok();
  DeviceBuffer<int32_t> starts(lists * (n + 1)), order(lists * m);
  if (!starts) return starts.status();
  if (!order) return order.status();
  const Sorted sorted{starts.get(), order.get()};
  const int64_t ranges = blocks_for(n, kRows);
  OSC_TRY(launch(sort_positions, static_cast<unsigned>(lists * ranges), kThreads, 0, data<int32_t>(index), n, m, ranges, sorted));
  if (cancelled(context)) return aborted();
  return with_real(y.dtype, [&](auto zero) {
    using E = decltype(zero);
    return launch_each(SumRows<E>{sorted, data<E>(args.g), data<E>(y), n, m, y.shape[2], lists == 1}, size_of(y));
  });
}

}  // namespace osc
