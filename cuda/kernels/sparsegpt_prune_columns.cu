// This work is based on: E. Frantar, D. Alistarh, "SparseGPT", 2023, in the form of docs/numerics.md, as on the CPU. A block of
// columns is the product that brings it up to date, its scores, the choice of a threshold, and the column recursion.
#include <cmath>
#include <cstring>
#include <limits>

#include "common/digits.cuh"
#include "common/flat.cuh"
#include "common/layer_sweep.cuh"
#include "common/ranks.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

// How many of each row's scores [columns, rows] are negative, or equal to `score`. A thread a row.
struct CountInRow {
  const float* scores;
  int64_t columns, rows;
  float score;
  bool negative;
  long long* counts;
  __device__ void operator()(int64_t row) const {
    long long count = 0;
    for (int64_t j = 0; j < columns; ++j) {
      const float s = scores[j * rows + row];
      count += negative ? s < 0 : s == score;
    }
    counts[row] = count;
  }
};

// Of the scores equal to `score`, in row-major order, all but the first `ties` become Inf. before[row]: how many rows above have.
struct KeepLateTies {
  float* scores;
  int64_t columns, rows;
  float score;
  long long ties;
  const long long* before;
  __device__ void operator()(int64_t row) const {
    long long seen = before[row];
    for (int64_t j = 0; j < columns; ++j) {
      float& s = scores[j * rows + row];
      if (s == score && seen++ >= ties) s = INFINITY;
    }
  }
};

// The k-th smallest score, k from 1; `ties`: how many of those equal to it are among the k smallest, `equal`: how many there are.
struct Kth {
  float score;
  int64_t ties, equal;
};

Status kth_smallest(const float* scores, int64_t size, int64_t k, Kth* found) {
  DeviceBuffer<unsigned long long> counts(kDigitValues);
  if (!counts) return counts.status();
  std::vector<unsigned long long> host(static_cast<size_t>(kDigitValues));
  uint32_t key = 0;
  int64_t left = k, equal = 0;
  for (int digit = 0; digit < kKeyDigits; ++digit) {
    OSC_TRY(set_zero(counts.get(), counts.bytes()));
    OSC_TRY(launch_count(scores, size, OrderKey(), digit, key, counts.get(), nullptr));
    OSC_TRY(copy_to_host(host.data(), counts.get(), counts.bytes()));
    for (uint32_t value = 0;; ++value) {
      equal = static_cast<int64_t>(host[value]);
      if (equal >= left) {
        key += value << digit_shift(digit);
        break;
      }
      left -= equal;
    }
  }
  const uint32_t bits = key & 0x80000000U ? key & 0x7FFFFFFFU : ~key;
  std::memcpy(&found->score, &bits, sizeof bits);
  found->ties = left;
  found->equal = equal;
  return ok();
}

// The threshold of a block: all rows share one, so that rows and columns that matter less lose more.
Status select(const SparsegptPruneColumnsArgs& args, const LayerSweep& layer, int64_t width, float* threshold) {
  const int64_t rows = layer.rows(), count = rows * width;
  float* scores = layer.marks();
  // 2800 * 0.7 is a whole number but for its last bits, and counts as that.
  constexpr double kWhole = 1 + 4 * std::numeric_limits<double>::epsilon();
  int64_t zeros = static_cast<int64_t>(std::floor(static_cast<double>(count) * args.sparsity * kWhole));
  if (!args.exact_count) ++zeros;  // the published rule: everything up to and including this one
  zeros = std::max<int64_t>(0, std::min(zeros, count));
  DeviceBuffer<long long> counts(rows + 1);
  if (!counts) return counts.status();
  if (args.held.data) {
    long long held;
    OSC_TRY(launch_each(CountInRow{scores, width, rows, 0, true, counts.get()}, rows));
    OSC_TRY(sum_before(counts.get(), rows));
    OSC_TRY(read_value(counts.get() + rows, &held));
    zeros = std::max<int64_t>(zeros, held);
  }
  *threshold = -1;
  if (zeros == 0) return ok();
  Kth kth{};
  OSC_TRY(kth_smallest(scores, count, zeros, &kth));
  *threshold = kth.score;
  if (!args.exact_count || kth.ties == kth.equal) return ok();
  OSC_TRY(launch_each(CountInRow{scores, width, rows, kth.score, false, counts.get()}, rows));
  OSC_TRY(sum_before(counts.get(), rows));
  return launch_each(KeepLateTies{scores, width, rows, kth.score, kth.ties, counts.get()}, rows);
}

// The weights that stay: W - E, or the points of the codes; dead columns are zero.
struct StoreWeights {
  const float* weight;
  int64_t stride, rows, columns, group_size;
  const uint8_t *dead, *codes;  // codes null: nothing was quantized
  const float* scales;
  const uint8_t* zeros;
  float* pruned;  // holds E
  __device__ void operator()(int64_t at) const {
    const int64_t row = at / columns, column = at % columns;
    if (codes) {
      const int64_t grid = column / group_size * rows + row;
      pruned[at] = scales[grid] * (static_cast<float>(codes[at]) - static_cast<float>(zeros[grid]));
    } else {
      pruned[at] = dead[column] ? 0.0F : weight[row * stride + column] - pruned[at];
    }
  }
};

OSC_GLOBAL count_pruned(const uint8_t* mask, int64_t size, unsigned long long* zeros) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kRankThreads * 8 + threadIdx.x;
  int sum = 0;
  for (int k = 0; k < 8; ++k) {
    const int64_t i = start + k * kRankThreads;
    int total;
    block_rank(i < size && mask[i] == 0, &total);
    sum += total;
  }
  if (threadIdx.x == 0 && sum) atomicAdd(zeros, static_cast<unsigned long long>(sum));
}

Status store(SparsegptPruneColumnsArgs& args, const LayerSweep& layer) {
  const int64_t size = layer.rows() * layer.columns();
  float* pruned = data<float>(args.pruned);
  uint8_t* mask = data<uint8_t>(args.mask);
  const bool quantized = args.bits > 0;
  OSC_TRY(layer.store_mask(mask));
  if (quantized) {
    OSC_TRY(layer.store_codes(data<uint8_t>(args.codes)));
  } else {
    OSC_TRY(layer.store_errors(pruned));
  }
  OSC_TRY(launch_each(StoreWeights{data<const float>(args.weight), args.weight.strides[0], layer.rows(), layer.columns(),
                                   layer.groups().size, data<const uint8_t>(args.dead),
                                   quantized ? data<const uint8_t>(args.codes) : nullptr,
                                   quantized ? data<const float>(args.scales) : nullptr,
                                   quantized ? data<const uint8_t>(args.zeros) : nullptr, pruned},
                      size));
  DeviceBuffer<unsigned long long> zeros(1);
  if (!zeros) return zeros.status();
  unsigned long long count;
  OSC_TRY(set_zero(zeros.get(), zeros.bytes()));
  OSC_TRY(launch(count_pruned, dim3(static_cast<unsigned>(blocks_for(size, kRankThreads * 8))), dim3(kRankThreads), 0, mask, size,
                 zeros.get()));
  OSC_TRY(read_value(zeros.get(), &count));
  args.zeros_count = static_cast<int64_t>(count);
  return ok();
}

}  // namespace

Status sparsegpt_prune_columns(SparsegptPruneColumnsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  args.loss = args.pruning_loss = 0;
  args.zeros_count = 0;
  LayerRequest request;
  request.weight = args.weight;
  request.factor = args.factor;
  request.diagonal = args.diagonal;
  request.order = args.order;
  request.dead = args.dead;
  request.held = args.held;
  request.spec = GridSpec{args.bits, args.sym != 0, args.mse != 0, args.float16_scales != 0};
  request.group_size = args.group_size;
  request.prunes = true;
  request.n = args.n;
  request.m = args.m;
  request.block_size = args.block_size;
  LayerSweep layer(request);
  const int64_t columns = layer.columns();
  if (layer.rows() == 0) return ok();
  OSC_TRY(layer.allocate());
  OSC_TRY(layer.load(nullptr));
  float* scales = args.bits > 0 ? data<float>(args.scales) : nullptr;
  uint8_t* zeros = args.bits > 0 ? data<uint8_t>(args.zeros) : nullptr;
  if (args.bits > 0) OSC_TRY(layer.static_grids(scales, zeros));
  if (columns == 0) return ok();
  for (int64_t from = 0; from < columns; from += layer.block()) {
    if (cancelled(context)) return aborted();
    const int64_t to = std::min(from + layer.block(), columns);
    float threshold = 0;
    OSC_TRY(layer.gather(from, to));
    if (args.m == 0) {
      OSC_TRY(layer.score(from, to));
      OSC_TRY(select(args, layer, to - from, &threshold));
    }
    OSC_TRY(layer.settle(from, to, scales, zeros, threshold));
    report(context, static_cast<double>(to), static_cast<double>(columns));
  }
  OSC_TRY(store(args, layer));
  OSC_TRY(layer.losses(&args.loss, &args.pruning_loss));
  return cancelled(context) ? aborted() : ok();
}

}  // namespace osc
