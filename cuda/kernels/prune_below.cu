#include <algorithm>

#include "common/memory.h"
#include "common/ranks.cuh"
#include "core/order_key.h"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

constexpr int kRounds = 8;  // elements of a thread, a block apart from each other
constexpr int64_t kTile = kRounds * kRankThreads;

struct Cut {
  const float *weight, *scores;  // scores null: |weight|
  int64_t size;
  uint32_t threshold;
  __device__ uint32_t key(int64_t i) const { return scores ? order_key(scores[i]) : magnitude_key(weight[i]); }
};

// below: how many keys are smaller than the threshold; equal[tile]: how many are equal to it.
OSC_GLOBAL count_keys(Cut cut, unsigned long long* below, long long* equal) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  int smaller = 0, same = 0;
  for (int k = 0; k < kRounds; ++k) {
    const int64_t i = start + k * kRankThreads;
    const uint32_t key = i < cut.size ? cut.key(i) : ~0U;
    int total;
    block_rank(i < cut.size && key < cut.threshold, &total);
    smaller += total;
    block_rank(i < cut.size && key == cut.threshold, &total);
    same += total;
  }
  if (threadIdx.x != 0) return;
  if (smaller) atomicAdd(below, static_cast<unsigned long long>(smaller));
  equal[blockIdx.x] = same;
}

// Prunes what is below the threshold, and of what equals it the first `ties` (< 0: all).
OSC_GLOBAL prune_tile(Cut cut, const long long* equal_before, int64_t ties, float* pruned, uint8_t* mask) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  long long before = equal_before[blockIdx.x];
  for (int k = 0; k < kRounds; ++k) {
    const int64_t i = start + k * kRankThreads;
    const uint32_t key = i < cut.size ? cut.key(i) : ~0U;
    const bool same = i < cut.size && key == cut.threshold;
    int total;
    const long long rank = before + block_rank(same, &total);
    before += total;
    if (i >= cut.size) continue;
    const bool keep = same ? ties >= 0 && rank >= ties : key > cut.threshold;
    mask[i] = keep;
    pruned[i] = keep ? cut.weight[i] : 0.0F;
  }
}

}  // namespace

Status prune_below(PruneBelowArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t size = size_of(args.weight), tiles = blocks_for(size, kTile);
  args.zeros = args.equal = 0;
  if (size == 0) return ok();
  const Cut cut{data<const float>(args.weight), args.scores.data ? data<const float>(args.scores) : nullptr, size,
                static_cast<uint32_t>(args.threshold)};
  DeviceBuffer<long long> counts(tiles + 2);  // equal ones before each tile, all of them; smaller ones
  if (!counts) return counts.status();
  auto* below = reinterpret_cast<unsigned long long*>(counts.get() + tiles + 1);
  OSC_TRY(set_zero(below, sizeof *below));
  const dim3 grid(static_cast<unsigned>(tiles)), block(kRankThreads);
  OSC_TRY(launch(count_keys, grid, block, 0, cut, below, counts.get()));
  OSC_TRY(sum_before(counts.get(), tiles));
  OSC_TRY(launch(prune_tile, grid, block, 0, cut, counts.get(), args.ties, data<float>(args.pruned), data<uint8_t>(args.mask)));
  long long sums[2];
  OSC_TRY(copy_to_host(sums, counts.get() + tiles, sizeof sums));
  args.equal = sums[0];
  args.zeros = sums[1] + (args.ties < 0 ? sums[0] : std::min<int64_t>(sums[0], args.ties));
  return cancelled(context) ? aborted() : ok();
}

}  // namespace osc
