// Reductions of long vectors: sums of parts of a fixed length, combined by a tree over the parts, so that the result depends on
// the length alone.
#pragma once
#include <algorithm>
#include <cmath>

#include "../core/parallel.h"
#include "../core/tensor.h"

namespace osc {

inline constexpr int64_t kVectorPart = 1 << 14;

inline int64_t parts_of(int64_t size) { return (size + kVectorPart - 1) / kVectorPart; }

// Pairwise; changes `sums`. 0 for none.
inline double tree_sum(double* sums, int64_t count) {
  for (; count > 1; count = (count + 1) / 2) {
    for (int64_t i = 0; i < count / 2; ++i) sums[i] = sums[2 * i] + sums[2 * i + 1];
    if (count % 2) sums[count / 2] = sums[count - 1];
  }
  return count ? sums[0] : 0;
}

}  // namespace osc
