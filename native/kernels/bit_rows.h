// Rows of packed codes as pack_bits and unpack_bits walk them: a tile of rows at a time, gathered first when the
// elements of a row are not neighbours, so that a transposed matrix is read along its memory.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../core/status.h"
#include "../core/tensor.h"

namespace osc {

inline constexpr int64_t kRowsPerBitTile = 64;

// Calls f(std::integral_constant) with the width of a code, so that loops over eight codes have constant shifts.
template <class F>
Status with_bits(int64_t bits, F&& f) {
  switch (bits) {
    case 1: return f(std::integral_constant<int, 1>{});
    case 2: return f(std::integral_constant<int, 2>{});
    case 3: return f(std::integral_constant<int, 3>{});
    case 4: return f(std::integral_constant<int, 4>{});
    case 5: return f(std::integral_constant<int, 5>{});
    case 6: return f(std::integral_constant<int, 6>{});
    case 7: return f(std::integral_constant<int, 7>{});
    case 8: return f(std::integral_constant<int, 8>{});
    default: return fail(OSC_ARGUMENT, 0, "bits must be 1 to 8");
  }
}

// Calls f(row, first) for every row of x [rows, columns] of type T; first points to the row's elements, now contiguous.
template <class T, class F>
Status each_bit_row(const Tensor& x, const Context& context, F&& f) {
  const int64_t rows = x.shape[0], columns = x.shape[1];
  const bool neighbours = x.strides[1] == 1 || columns <= 1;
  std::atomic<bool> memory{true};
  const int64_t tiles = (rows + kRowsPerBitTile - 1) / kRowsPerBitTile;
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t start = tile * kRowsPerBitTile, end = std::min(rows, start + kRowsPerBitTile);
    if (neighbours) {
      for (int64_t row = start; row < end; ++row) f(row, columns ? data<const T>(x) + row * x.strides[0] : nullptr);
      return;
    }
    Buffer<T> gathered((end - start) * columns);
    if (!gathered) {
      memory = false;
      return;
    }
    for (int64_t column = 0; column < columns; ++column) {
      const T* source = data<const T>(x) + column * x.strides[1];
      for (int64_t row = start; row < end; ++row) {
        gathered[(row - start) * columns + column] = source[row * x.strides[0]];
      }
    }
    for (int64_t row = start; row < end; ++row) f(row, gathered.get() + (row - start) * columns);
  });
  if (!done) return aborted();
  const int64_t bytes = kRowsPerBitTile * columns * static_cast<int64_t>(sizeof(T));
  return memory ? ok() : fail(OSC_OUT_OF_MEMORY, bytes, "no memory for a tile of rows");
}

}  // namespace osc
