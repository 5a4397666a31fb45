// Passes over flat vectors on the CPU.
#pragma once
#include <algorithm>

#include "../core/parallel.h"
#include "flat_check.h"

namespace osc {

// NON_FINITE: the first vector with a NaN or Inf, index = the first position in it.
Status check_finite(std::initializer_list<NamedVector> vectors, const Context& context);

// An optimizer's step runs to its end once it has begun to write: half a step would be a wrong number.
inline constexpr Context kNotCancelled{nullptr, nullptr, nullptr};

// f(start, count) over tiles of a vector, never cancelled.
template <class F>
void each_flat_tile(int64_t size, F f) {
  constexpr int64_t kTile = 1 << 14;
  parallel_for((size + kTile - 1) / kTile, kNotCancelled,
               [&](int64_t tile) { f(tile * kTile, std::min(kTile, size - tile * kTile)); });
}

}  // namespace osc
