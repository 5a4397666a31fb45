// This work is based on: E. Frantar, D. Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
// 2023; the recursion is in column_sweep.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../core/order_key.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "../simd/flat.h"
#include "column_sweep.h"
#include "compress_checks.h"

namespace osc {
namespace {

// The scores of one block of columns over all rows, tile by tile; rows beyond `live`, up to a whole strip, are +Inf.
struct TileScores {
  float* scores;  // [strip][columns][kStrip]
  int64_t columns, padded, live;
  float& at(int64_t row, int64_t column) const { return scores[row / kStrip * kStrip * columns + column * kStrip + row % kStrip]; }
};

// The k-th smallest score, k from 1; `ties`: how many of those equal to it are among the k smallest, `equal`: how many there are.
struct Kth {
  float score;
  int64_t ties, equal;
};

bool kth_smallest(const std::vector<TileScores>& tiles, int64_t k, const Context& context, Kth* found) {
  uint32_t key = 0;
  int64_t left = k, equal = 0;
  std::vector<uint32_t> counts(tiles.size() * static_cast<size_t>(kDigitValues));
  for (int digit = 0; digit < kKeyDigits; ++digit) {
    std::fill(counts.begin(), counts.end(), 0u);
    const bool done = parallel_for(static_cast<int64_t>(tiles.size()), context, [&](int64_t index) {
      const TileScores& tile = tiles[static_cast<size_t>(index)];
      flat_simd().count_digits(tile.scores, tile.columns * tile.padded, false, digit, key,
                               counts.data() + index * kDigitValues);
    });
    if (!done) return false;
    for (uint32_t value = 0;; ++value) {
      equal = 0;
      for (size_t t = 0; t < tiles.size(); ++t) equal += counts[t * static_cast<size_t>(kDigitValues) + value];
      if (equal >= left) {
        key += value << digit_shift(digit);
        break;
      }
      left -= equal;
    }
  }
  const uint32_t bits = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  std::memcpy(&found->score, &bits, sizeof bits);
  found->ties = left;
  found->equal = equal;
  return true;
}

// Of the scores that tie with the k-th, keeps all but the first `ties` in row-major order.
void keep_late_ties(const std::vector<TileScores>& tiles, const Kth& kth) {
  int64_t seen = 0;
  for (const TileScores& tile : tiles) {
    for (int64_t r = 0; r < tile.live; ++r) {
      for (int64_t j = 0; j < tile.columns; ++j) {
        float& score = tile.at(r, j);
        if (score == kth.score && seen++ >= kth.ties) score = std::numeric_limits<float>::infinity();
      }
    }
  }
}

class Sweep {
 public:
  Sweep(const SparsegptPruneColumnsArgs& args, const SweepPlan& plan, const Context& context)
      : args_(args), plan_(plan), context_(context) {}

  Status run() {
    for (int64_t index = 0; index < plan_.tiles(); ++index) {
      tiles_.emplace_back(plan_, index);
      if (!tiles_.back().allocated()) return fail(OSC_OUT_OF_MEMORY, plan_.tile_bytes(), "no memory for a tile of rows");
    }
    if (!each_tile([&](SweepTile& tile) {
          tile.load();
          tile.static_grids();
        })) {
      return aborted();
    }
    const int64_t columns = plan_.columns;
    for (int64_t from = 0; from < columns; from += plan_.block) {
      const int64_t to = std::min(from + plan_.block, columns);
      if (!each_tile([&](SweepTile& tile) { tile.gather(from, to); })) return aborted();
      float threshold = 0;
      if (args_.m == 0 && !select(from, to, &threshold)) return aborted();
      if (!each_tile([&](SweepTile& tile) { tile.sweep(from, to, threshold); })) return aborted();
      report(context_, static_cast<double>(to), static_cast<double>(columns));
    }
    const bool stored = each_tile([&](SweepTile& tile) {
      tile.store_weight(args_.pruned, args_.mask);
      if (args_.bits > 0) tile.store_codes(args_.codes, args_.scales, args_.zeros);
    });
    return stored ? ok() : aborted();
  }

  double loss() const { return sum(&SweepTile::loss); }
  double pruning_loss() const { return sum(&SweepTile::pruning_loss); }

 private:
  template <class F>
  bool each_tile(F&& f) {
    return parallel_for(static_cast<int64_t>(tiles_.size()), context_, [&](int64_t index) { f(tiles_[static_cast<size_t>(index)]); });
  }

  // The threshold of a block: the whole block shares one, so that rows and columns that matter less lose more.
  bool select(int64_t from, int64_t to, float* threshold) {
    std::vector<TileScores> scores(tiles_.size());
    const bool scored = parallel_for(static_cast<int64_t>(tiles_.size()), context_, [&](int64_t index) {
      SweepTile& tile = tiles_[static_cast<size_t>(index)];
      scores[static_cast<size_t>(index)] = {tile.scores(from, to), to - from, tile.padded(), tile.live()};
    });
    if (!scored) return false;
    const int64_t count = plan_.rows * (to - from);
    // 2800 * 0.7 is a whole number but for its last bits, and counts as that.
    constexpr double kWhole = 1 + 4 * std::numeric_limits<double>::epsilon();
    int64_t zeros = static_cast<int64_t>(std::floor(static_cast<double>(count) * args_.sparsity * kWhole));
    if (!args_.exact_count) ++zeros;  // the published rule: everything up to and including this one
    zeros = std::clamp<int64_t>(zeros, 0, count);
    int64_t held = 0;
    if (args_.held.data) {
      for (const TileScores& tile : scores) {
        for (int64_t i = 0; i < tile.columns * tile.padded; ++i) held += tile.scores[i] < 0;
      }
    }
    zeros = std::max(zeros, held);
    if (zeros == 0) {
      *threshold = -1;
      return true;
    }
    Kth kth{};
    if (!kth_smallest(scores, zeros, context_, &kth)) return false;
    if (args_.exact_count && kth.ties < kth.equal) keep_late_ties(scores, kth);
    *threshold = kth.score;
    return true;
  }

  double sum(double (SweepTile::*of)() const) const {
    double total = 0;
    for (const SweepTile& tile : tiles_) total += (tile.*of)();
    return total;
  }

  const SparsegptPruneColumnsArgs& args_;
  const SweepPlan& plan_;
  const Context& context_;
  std::vector<SweepTile> tiles_;
};

}  // namespace

Status sparsegpt_prune_columns(SparsegptPruneColumnsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const SweepRequest request{
      .weight = args.weight,
      .factor = args.factor,
      .diagonal = args.diagonal,
      .order = args.order,
      .dead = args.dead,
      .block_size = args.block_size,
      .bits = args.bits,
      .sym = args.sym,
      .group_size = args.group_size,
      .static_groups = 1,
      .mse = args.mse,
      .float16_scales = args.float16_scales,
      .prunes = true,
      .n = args.n,
      .m = args.m,
      .held = args.held,
  };
  OSC_TRY(SweepPlan::check(request));
  const SweepPlan plan(request);
  Sweep sweep(args, plan, context);
  OSC_TRY(sweep.run());
  args.loss = sweep.loss();
  args.pruning_loss = sweep.pruning_loss();
  args.zeros_count = 0;
  for (int64_t i = 0; i < size_of(args.mask); ++i) args.zeros_count += data<uint8_t>(args.mask)[i] == 0;
  return ok();
}

}  // namespace osc
