// The inner loops of Gram matrices, with a code path per instruction set: gram_tile_body.inc is compiled once per path.
// Why not ssyrk: both operands are the same packed panels here, and the BLAS packs them twice (docs/numerics.md).
#pragma once
#include <cstdint>

namespace osc {

inline constexpr int64_t kGramPanel = 48;  // columns of a packed panel; the last panel of a matrix has 16, 32 or 48
inline constexpr int64_t kGramUnit = 16;   // columns a tile grows by
inline constexpr int64_t kGramRows = 8;    // rows of a tile

// sum[8][16 units] = (add ? sum : 0) + sum over k < depth of rows[k][0..8)^T columns[k][0..16 units), units 1, 2 or 3.
// Each element is one chain of multiply-adds over k, then one addition: its bits do not depend on where it lies in a tile.
// columns is 64-byte aligned; strides in floats; column_stride a multiple of 16.
struct GramTile {
  int64_t units;
  int64_t depth;
  const float* rows;
  int64_t row_stride;
  const float* columns;
  int64_t column_stride;
  float* sum;
  int64_t sum_stride;
  bool add;
};

struct GramSimd {
  void (*tile)(const GramTile& tile);
  // One row of `panels` whole panels: 48 floats to each of target, target + stride, ... (64-byte aligned). Returns whether
  // all were finite.
  bool (*pack_row)(const float* row, int64_t panels, float* target, int64_t stride);
  bool (*all_finite)(const float* values, int64_t count);
  void (*add_row)(const float* row, int64_t count, const double* before, double* after);  // after = before + row
};

const GramSimd& gram_simd();  // of cpu_path()

extern const GramSimd kGramPortable;
#if defined(__x86_64__)
extern const GramSimd kGramAvx2, kGramAvx512;
#endif

}  // namespace osc
