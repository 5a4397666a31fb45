#include <algorithm>
#include <vector>

#include "../core/order_key.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "../simd/flat.h"

namespace osc {

Status prune_below(PruneBelowArgs& args, const Context& context) {
  constexpr int64_t kTile = 1 << 17;
  OSC_TRY(check(args));
  const int64_t size = size_of(args.weight), tiles = (size + kTile - 1) / kTile;
  const bool absolute = args.scores.data == nullptr;
  const float *weight = data<float>(args.weight), *scores = absolute ? weight : data<float>(args.scores);
  const auto threshold = static_cast<uint32_t>(args.threshold);

  std::vector<PruneCount> counts(static_cast<size_t>(tiles), PruneCount{0, 0});
  // As if each tile could prune all of its ties, or none: which ones go is known when they are counted.
  const auto prune = [&](int64_t tile, int64_t ties) {
    const int64_t start = tile * kTile;
    counts[static_cast<size_t>(tile)] = flat_simd().prune_run(PruneRun{
        .count = std::min(kTile, size - start),
        .weight = weight + start,
        .scores = scores + start,
        .absolute = absolute,
        .threshold = threshold,
        .ties = ties,
        .pruned = data<float>(args.pruned) + start,
        .mask = data<uint8_t>(args.mask) + start,
    });
  };
  if (!parallel_for(tiles, context, [&](int64_t tile) { prune(tile, args.ties < 0 ? kTile : args.ties); })) return aborted();
  args.zeros = args.equal = 0;
  int64_t left = args.ties;  // in all tiles together
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const auto [below, equal] = counts[static_cast<size_t>(tile)];
    const int64_t pruned = args.ties < 0 ? equal : std::min(equal, left);
    if (pruned < std::min(equal, args.ties < 0 ? kTile : args.ties)) prune(tile, pruned);  // the tiles before took some
    left -= pruned;
    args.zeros += below + pruned;
    args.equal += equal;
  }
  return ok();
}

}  // namespace osc
