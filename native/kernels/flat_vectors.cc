#include "flat_vectors.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "../core/parallel.h"
#include "../simd/flat.h"

namespace osc {
namespace {

bool overlap(const Tensor& a, const Tensor& b) {
  const char *from_a = data<char>(a), *from_b = data<char>(b);
  return from_a < from_b + size_of(b) * item_bytes(b.dtype) && from_b < from_a + size_of(a) * item_bytes(a.dtype);
}

}  // namespace

Status check_flat(std::initializer_list<NamedVector> vectors) {
  const int64_t size = size_of(vectors.begin()->tensor);
  for (auto a = vectors.begin(); a != vectors.end(); ++a) {
    if (a->tensor.dtype != OSC_FLOAT32 || !is_contiguous(a->tensor)) {
      return fail(OSC_ARGUMENT, 0, "%s must be contiguous float32", a->name);
    }
    if (size_of(a->tensor) != size) {
      return fail(OSC_ARGUMENT, 0, "%s must have the size of %s", a->name, vectors.begin()->name);
    }
    for (auto b = vectors.begin(); size > 0 && b != a; ++b) {
      if (overlap(a->tensor, b->tensor)) return fail(OSC_ARGUMENT, 0, "%s and %s share memory", b->name, a->name);
    }
  }
  return ok();
}

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
