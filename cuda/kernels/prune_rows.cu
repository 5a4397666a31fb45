// This work is based on: M. Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), 2023, as on
// the CPU.
#include "common/flat.cuh"
#include "common/ranks.cuh"
#include "core/order_key.h"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

struct Rows {
  const float *weight, *scale;  // scale null: 1
  int64_t stride, columns;
  float* pruned;
  uint8_t* mask;

  __device__ uint32_t key(int64_t row, int64_t column) const {
    const float w = weight[row * stride + column];
    return magnitude_key(scale ? w * scale[column] : w);
  }
  __device__ void store(int64_t row, int64_t column, bool keep) const {
    mask[row * columns + column] = keep;
    pruned[row * columns + column] = keep ? weight[row * stride + column] : 0.0F;
  }
};

// n of every m consecutive columns: a weight goes when fewer than its group's share go before it.
struct PruneGroups {
  Rows rows;
  int64_t n, m;
  __device__ void operator()(int64_t at) const {
    const int64_t row = at / rows.columns, column = at % rows.columns, start = column / m * m;
    const int64_t length = min(m, rows.columns - start);
    const uint32_t mine = rows.key(row, column);
    int64_t before = 0;
    for (int64_t j = start; j < start + length; ++j) {
      const uint32_t other = rows.key(row, j);
      before += other < mine || (other == mine && j < column);
    }
    rows.store(row, column, before >= n * length / m);
  }
};

// The `zeros` smallest of a row; of equal ones the first go. A block a row: three passes find the key of the last that goes.
OSC_GLOBAL prune_whole_rows(Rows rows, int64_t zeros) {
  OSC_SHARED(unsigned, counts, [kDigitValues]);
  OSC_SHARED(unsigned, of_thread, [kRankThreads]);
  OSC_SHARED(uint32_t, found, [2]);  // the digits so far; how many of the keys that begin with them go
  constexpr int kEach = static_cast<int>(kDigitValues) / kRankThreads;
  const int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  uint32_t prefix = 0, left = static_cast<uint32_t>(zeros);  // from 1
  for (int digit = 0; digit < kKeyDigits; ++digit) {
    const int shift = digit_shift(digit), before = digit_shift(digit - 1);
    for (int v = thread; v < kDigitValues; v += kRankThreads) counts[v] = 0;
    __syncthreads();
    for (int64_t j = thread; j < rows.columns; j += kRankThreads) {
      const uint32_t key = rows.key(row, j);
      if (digit == 0 || key >> before == prefix >> before) atomicAdd(&counts[(key >> shift) & (digit == 2 ? 1023U : 2047U)], 1U);
    }
    __syncthreads();
    unsigned sum = 0;
    for (int v = 0; v < kEach; ++v) sum += counts[thread * kEach + v];
    of_thread[thread] = sum;
    __syncthreads();
    if (thread == 0) {
      int t = 0;
      while (of_thread[t] < left) left -= of_thread[t++];
      uint32_t value = static_cast<uint32_t>(t * kEach);
      while (counts[value] < left) left -= counts[value++];
      found[0] = prefix | value << shift;
      found[1] = left;
    }
    __syncthreads();
    prefix = found[0];
    left = found[1];
  }
  int64_t equal = 0;  // seen so far
  for (int64_t start = 0; start < rows.columns; start += kRankThreads) {
    const int64_t j = start + thread;
    const uint32_t key = j < rows.columns ? rows.key(row, j) : ~0U;
    const bool same = j < rows.columns && key == prefix;
    int total;
    const int64_t rank = equal + block_rank(same, &total);
    equal += total;
    if (j < rows.columns) rows.store(row, j, same ? rank >= left : key > prefix);
  }
}

struct KeepAll {
  Rows rows;
  __device__ void operator()(int64_t at) const { rows.store(at / rows.columns, at % rows.columns, true); }
};

}  // namespace

Status prune_rows(PruneRowsArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& weight = args.weight;
  const int64_t count = weight.shape[0], columns = weight.shape[1];
  if (count == 0 || columns == 0) return ok();
  const Rows rows{data<const float>(weight), args.column_scale.data ? data<const float>(args.column_scale) : nullptr,
                  weight.strides[0], columns, data<float>(args.pruned), data<uint8_t>(args.mask)};
  if (args.m > 0) return launch_each(PruneGroups{rows, args.n, args.m}, count * columns);
  if (args.n == 0) return launch_each(KeepAll{rows}, count * columns);
  return launch(prune_whole_rows, dim3(static_cast<unsigned>(count)), dim3(kRankThreads), 0, rows, args.n);
}

}  // namespace osc
