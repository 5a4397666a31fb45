// Transposition of blocks that fit the cache.
#pragma once
#include <algorithm>
#include <cstdint>

namespace osc {

// to[columns, ldt] = from[rows, ldf]^T. Squares of four at a time: what one row of them needs stays in registers.
template <class Real>
void transpose_block(const Real* from, int64_t ldf, int64_t rows, int64_t columns, Real* to, int64_t ldt) {
  constexpr int64_t kSquare = 4;
  for (int64_t i = 0; i < rows; i += kSquare) {
    for (int64_t j = 0; j < columns; j += kSquare) {
      if (i + kSquare <= rows && j + kSquare <= columns) {
        Real square[kSquare][kSquare];
        for (int64_t r = 0; r < kSquare; ++r) {
          for (int64_t c = 0; c < kSquare; ++c) square[c][r] = from[(i + r) * ldf + j + c];
        }
        for (int64_t c = 0; c < kSquare; ++c) {
          for (int64_t r = 0; r < kSquare; ++r) to[(j + c) * ldt + i + r] = square[c][r];
        }
      } else {
        for (int64_t r = i; r < std::min(rows, i + kSquare); ++r) {
          for (int64_t c = j; c < std::min(columns, j + kSquare); ++c) to[c * ldt + r] = from[r * ldf + c];
        }
      }
    }
  }
}

}  // namespace osc
