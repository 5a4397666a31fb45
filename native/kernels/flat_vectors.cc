#include "flat_vectors.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "../core/parallel.h"
#include "../simd/flat.h"

namespace osc {

Status check_finite(std::initializer_list<NamedVector> vectors, const Context& context) {
  constexpr int64_t kTile = 1 << 16;
  for (const auto& [name, tensor] : vectors) {
    const int64_t size = size_of(tensor);
    const float* x = data<float>(tensor);
    std::atomic<int64_t> first{size};
    const bool done = parallel_for((size + kTile - 1) / kTile, context, [&](int64_t tile) {
      const int64_t start = tile * kTile, end = std::min(size, start + kTile);
      if (first.load(std::memory_order_relaxed) < start || flat_simd().all_finite(x + start, end - start)) return;
      int64_t at = start;
      while (std::isfinite(x[at])) ++at;
      int64_t seen = first.load();
      while (at < seen && !first.compare_exchange_weak(seen, at)) {
      }
    });
    if (!done) return aborted();
    if (first < size) {
      return fail(OSC_NON_FINITE, first, "%s is not finite at position %lld", name, static_cast<long long>(first.load()));
    }
  }
  return ok();
}

}  // namespace osc
