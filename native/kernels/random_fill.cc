#include <algorithm>

#include "../core/parallel.h"
#include "../kernels.h"
#include "../simd/flat.h"

namespace osc {

Status random_fill(RandomFillArgs& args, const Context& context) {
  constexpr int64_t kTile = 1 << 16;
  if (args.y.dtype != OSC_FLOAT32 || !is_contiguous(args.y)) return fail(OSC_ARGUMENT, 0, "y must be contiguous float32");
  if (args.kind < 0 || args.kind > 2) return fail(OSC_ARGUMENT, 0, "kind must be 0, 1 or 2");
  const int64_t size = size_of(args.y);
  const RandomKey key{static_cast<uint64_t>(args.seed), static_cast<uint32_t>(args.stream),
                      static_cast<uint32_t>(args.step)};
  const bool done = parallel_for((size + kTile - 1) / kTile, context, [&](int64_t tile) {
    const int64_t start = tile * kTile;
    flat_simd().random(static_cast<RandomKind>(args.kind), key, args.index + start, std::min(kTile, size - start),
                       static_cast<float>(args.scale), static_cast<float>(args.shift), data<float>(args.y) + start);
  });
  return done ? ok() : aborted();
}

}  // namespace osc
