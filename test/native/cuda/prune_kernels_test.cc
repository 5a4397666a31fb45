#include <cmath>
#include <limits>

#include "core/order_key.h"
#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

// Many equal values, both signs.
Owned<float> coarse(std::vector<int64_t> shape, uint64_t seed) {
  Random random(seed);
  return std::move(Owned<float>(std::move(shape)).fill([&](int64_t) { return std::round(random.next() * 40) / 40; }));
}

}  // namespace

KERNEL_TEST(score_histogram) {
  for (const int64_t size : {0, 1, 5003}) {
    const Owned<float> scores = coarse({size}, 1);
    const Owned<double> room({2048});
    for (const int64_t absolute : {0, 1}) {
      for (const int64_t digit : {0, 1, 2}) {
        ScoreHistogramArgs args;
        args.scores = scores.view();
        args.counts = as(OSC_INT64, room.view());
        args.digit = digit, args.absolute = absolute;
        args.prefix = absolute ? magnitude_key(0.5F) : order_key(0.5F);
        CHECK(same_as_cpu(args) == OSC_OK);
        if (size == 0 || digit > 0) continue;
        const float kept = scores[size / 2];
        scores[size / 2] = std::numeric_limits<float>::quiet_NaN();
        CHECK(same_as_cpu(args) == OSC_NON_FINITE);
        scores[size / 2] = kept;
      }
    }
  }
}

KERNEL_TEST(prune_below) {
  for (const int64_t size : {0, 1, 5003}) {
    const Owned<float> weight = coarse({size}, 1), scores = coarse({size}, 2), pruned({size});
    const Owned<uint8_t> mask({size});
    for (const int64_t ties : {-1, 0, 7}) {
      PruneBelowArgs args;
      args.weight = weight.view(), args.pruned = pruned.view(), args.mask = as(OSC_BOOL, mask.view());
      args.threshold = magnitude_key(0.25F), args.ties = ties;
      CHECK(same_as_cpu(args) == OSC_OK);
      args.scores = scores.view(), args.threshold = order_key(0.25F);
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
}

KERNEL_TEST(prune_rows) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {5, 67}, {33, 200}, {2, 3000}}) {
    const Owned<float> weight = coarse({rows, columns}, 1), pruned({rows, columns});
    Owned<float> scale = coarse({columns}, 2);
    scale.fill([&](int64_t j) { return std::fabs(scale[j]); });
    const Owned<uint8_t> mask({rows, columns});
    for (const auto& [n, m] : {std::pair<int64_t, int64_t>{0, 0}, {columns / 2, 0}, {columns, 0}, {2, 4}, {3, 7}, {1, 1}}) {
      PruneRowsArgs args;
      args.weight = weight.view(), args.pruned = pruned.view(), args.mask = as(OSC_BOOL, mask.view());
      args.n = n, args.m = m;
      CHECK(same_as_cpu(args) == OSC_OK);
      args.column_scale = scale.view();
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
}
