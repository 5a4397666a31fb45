// Common parts of the kernels that work row by row.
#pragma once
#include "../core/parallel.h"
#include "../simd/rows.h"
#include "rows_check.h"

namespace osc {

// f(first, end) over blocks of rows that hold about 16,384 elements, spread over threads. False after an abort.
template <class F>
bool each_row_block(int64_t rows, int64_t length, const Context& context, F&& f) {
  constexpr int64_t kElements = 1 << 14;
  const int64_t block = std::max<int64_t>(1, kElements / std::max<int64_t>(1, length));
  return parallel_for((rows + block - 1) / block, context, [&](int64_t tile) {
    f(tile * block, std::min(rows, (tile + 1) * block));
  });
}

}  // namespace osc
