// Common parts of the elementwise kernels.
#pragma once
#include "../core/parallel.h"
#include "../simd/elementwise.h"
#include "strided.h"

namespace osc {

// Elements of a tile, and of a run: a run of a view with other strides than 0 and 1 is copied to the stack first.
inline constexpr int64_t kElementTile = 1 << 14;
inline constexpr int64_t kElementRun = 1024;

// The elements of a run, through `copy` (kElementRun elements) where they are not neighbours.
template <class E>
const E* contiguous_run(const E* first, int64_t stride, int64_t count, E* copy) {
  if (stride == 1 || count == 1) return first;
  for (int64_t i = 0; i < count; ++i) copy[i] = first[i * stride];
  return copy;
}

// The same as loops take it that can repeat one element.
template <class E>
Run<E> run_of(const E* first, int64_t stride, int64_t count, E* copy) {
  if (stride == 0) return {first, true};
  return {contiguous_run(first, stride, count, copy), false};
}

// f(position, run, offsets) over all elements, spread over threads. Runs are longer than kElementRun only where the last
// strides are all 1, or 0 where `repeats` says that loops can do that. False after an abort.
template <int count, class F>
bool each_run(const Walk<count>& walk, int64_t size, bool repeats, const Context& context, F&& f) {
  int64_t limit = kElementTile;
  for (int v = 0; v < count; ++v) {
    const int64_t stride = walk.inner_stride(v);
    if (stride != 1 && !(repeats && stride == 0)) limit = kElementRun;
  }
  return parallel_for((size + kElementTile - 1) / kElementTile, context, [&](int64_t tile) {
    walk.each_run(tile * kElementTile, std::min(size, (tile + 1) * kElementTile), limit, f);
  });
}

}  // namespace osc
