#include "common/gpu.cuh"
#include "core/philox.h"
#include "kernels.h"

namespace osc {
namespace {

constexpr int kThreads = 256;

struct Fill {
  RandomKey key;
  int64_t index, size;  // of element 0, and how many elements
  float scale, shift;
  float* y;
  __device__ void put(int64_t i, float number) const {
    if (i >= 0 && i < size) y[i] = fmaf(scale, number, shift);
  }
};

// A thread a block of four numbers.
template <RandomKind kind>
OSC_GLOBAL fill_numbers(Fill fill, int64_t blocks) {
  const int64_t first = fill.index / kNumbersPerBlock;
  for (int64_t b = global_thread(); b < blocks; b += global_threads()) {
    const RandomBlock bits = random_block(kind, fill.key, static_cast<uint64_t>(first + b));
    const int64_t i = (first + b) * kNumbersPerBlock - fill.index;
    if constexpr (kind == RandomKind::kUniform) {
      for (int j = 0; j < 4; ++j) fill.put(i + j, random_uniform(bits.word[j]));
    } else {
      const NormalPair a = random_normals(bits.word[0], bits.word[1]), c = random_normals(bits.word[2], bits.word[3]);
      fill.put(i, a.first);
      fill.put(i + 1, a.second);
      fill.put(i + 2, c.first);
      fill.put(i + 3, c.second);
    }
  }
}

// A warp a block of 128 signs.
OSC_GLOBAL fill_signs(Fill fill, int64_t blocks) {
  const int64_t first = fill.index / kSignsPerBlock, lane = threadIdx.x % kWarp;
  for (int64_t b = global_thread() / kWarp; b < blocks; b += global_threads() / kWarp) {
    const RandomBlock bits = random_block(RandomKind::kRademacher, fill.key, static_cast<uint64_t>(first + b));
    const int64_t i = (first + b) * kSignsPerBlock - fill.index + lane;
    for (int j = 0; j < 4; ++j) fill.put(i + 32 * j, random_sign(bits.word[j], static_cast<uint32_t>(lane)));
  }
}

}  // namespace

Status random_fill(RandomFillArgs& args, const Context&) {
  if (args.y.dtype != OSC_FLOAT32 || !is_contiguous(args.y)) return fail(OSC_ARGUMENT, 0, "y must be contiguous float32");
  if (args.kind < 0 || args.kind > 2) return fail(OSC_ARGUMENT, 0, "kind must be 0, 1 or 2");
  const int64_t size = size_of(args.y);
  if (size == 0) return ok();
  const RandomKey key{static_cast<uint64_t>(args.seed), static_cast<uint32_t>(args.stream),
                      static_cast<uint32_t>(args.step)};
  const Fill fill{key, args.index, size, static_cast<float>(args.scale), static_cast<float>(args.shift), data<float>(args.y)};
  const auto kind = static_cast<RandomKind>(args.kind);
  const int64_t each = kind == RandomKind::kRademacher ? kSignsPerBlock : kNumbersPerBlock;
  const int64_t blocks = (args.index + size - 1) / each - args.index / each + 1;
  if (kind == RandomKind::kRademacher) {
    return launch(fill_signs, grid_for(blocks, kThreads / kWarp, 65535), kThreads, 0, fill, blocks);
  }
  return launch(kind == RandomKind::kUniform ? fill_numbers<RandomKind::kUniform> : fill_numbers<RandomKind::kNormal>,
                grid_for(blocks, kThreads, 65535), kThreads, 0, fill, blocks);
}

}  // namespace osc
