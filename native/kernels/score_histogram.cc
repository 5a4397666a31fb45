#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "../core/finite.h"
#include "../core/order_key.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "../simd/flat.h"

namespace osc {

Status score_histogram(ScoreHistogramArgs& args, const Context& context) {
  constexpr int64_t kTile = 1 << 18;
  OSC_TRY(check(args));
  const Tensor& scores = args.scores;
  const int64_t size = size_of(scores), tiles = (size + kTile - 1) / kTile;
  std::vector<std::atomic<int64_t>> sums(static_cast<size_t>(kDigitValues));
  std::atomic<int64_t> bad{size};
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t start = tile * kTile, count = std::min(kTile, size - start);
    const float* x = data<float>(scores) + start;
    std::vector<uint32_t> counts(static_cast<size_t>(kDigitValues));
    flat_simd().count_digits(x, count, args.absolute != 0, static_cast<int>(args.digit), static_cast<uint32_t>(args.prefix),
                             counts.data());
    for (int64_t v = 0; v < kDigitValues; ++v) {
      const uint32_t sum = counts[static_cast<size_t>(v)];
      if (sum) sums[static_cast<size_t>(v)].fetch_add(sum, std::memory_order_relaxed);
    }
    if (args.digit > 0) return;
    if (all_finite(x, count)) return;
    int64_t i = 0;
    while (i < count && !std::isnan(x[i])) ++i;
    if (i == count) return;
    int64_t seen = bad.load();
    while (start + i < seen && !bad.compare_exchange_weak(seen, start + i)) {
    }
  });
  if (!done) return aborted();
  if (bad < size) return fail(OSC_NON_FINITE, bad, "score %lld is NaN", static_cast<long long>(bad));
  for (int64_t v = 0; v < kDigitValues; ++v) data<int64_t>(args.counts)[v] += sums[static_cast<size_t>(v)].load();
  return ok();
}

}  // namespace osc
