#include <algorithm>
#include <atomic>
#include <cmath>

#include "../core/finite.h"
#include "../core/parallel.h"
#include "checks.h"

namespace osc {

Status find_non_finite(FindNonFiniteArgs& args, const Context& context) {
  constexpr int64_t kTile = 1 << 18;
  const Tensor& x = args.x;
  OSC_TRY(check(args));
  const int64_t size = size_of(x);
  std::atomic<int64_t> first{size}, count{0};
  const auto scan = [&](const auto* values) {
    return parallel_for((size + kTile - 1) / kTile, context, [&](int64_t tile) {
      const int64_t start = tile * kTile, end = std::min(size, start + kTile);
      if (all_finite(values + start, end - start)) return;
      int64_t here = 0, position = size;
      for (int64_t i = end - 1; i >= start; --i) {
        if (!std::isfinite(values[i])) {
          position = i;
          ++here;
        }
      }
      count.fetch_add(here);
      int64_t seen = first.load();
      while (position < seen && !first.compare_exchange_weak(seen, position)) {
      }
    });
  };
  const bool done = x.dtype == OSC_FLOAT32 ? scan(data<float>(x)) : scan(data<double>(x));
  if (!done) return aborted();
  args.count = count.load();
  args.index = args.count ? first.load() : -1;
  return ok();
}

}  // namespace osc
