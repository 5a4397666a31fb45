// The inner loops that have a code path per instruction set. One body (simd_body.inc) is compiled once per path.
#pragma once
#include <cstdint>

#include "grid.h"

namespace osc {

// Rows are handled in strips of this many: one column of a strip is contiguous.
inline constexpr int64_t kStrip = 64;
// Columns done one after the other before the rest of the block is updated.
inline constexpr int64_t kPanel = 32;

// The diagonal block of the column recursion for one strip of rows. `width` columns, local indices. What a column becomes: the
// nearest point of its grid with `codes`, zero where it is pruned with `mask`, both, or itself.
struct ColumnBlock {
  int64_t width;
  float* weight;           // [width][kStrip]: original weights of the strip; replaced by E = W - Q
  const float* pending;    // [width][kStrip]: sum over earlier blocks of E_i N_ij
  const float* factor;     // [width][factor_stride]: N_ij of the block
  int64_t factor_stride;
  const double* diagonal;  // [width] R_jj
  uint8_t* codes;          // [width][kStrip], or null: no quantization
  const int32_t* grid_of;  // [width] index into scales and zeros, grids of kStrip floats each
  float* scales;           // [grids][grid_stride]
  float* zeros;
  int64_t grid_stride;
  int64_t dynamic_group;   // > 0: a grid is made at every multiple of it from the current weights
  const float* correction;  // [width][factor_stride]: M_ij of the block, or null; columns also get sum over w_i M_ij,
  float* seen;              // [width][kStrip]: with the columns as they are when their turn comes, written
  uint8_t* mask;            // [width][kStrip], or null: no pruning. Written: 1 where kept
  float* scores;            // [width][kStrip] from block_scores; pruned where <= threshold, unless pattern_m > 0
  float threshold;
  const float* score_weight;  // [width] scores are |w| times this
  const uint8_t* held;        // [width][kStrip] 0: pruned whatever its score; or null
  int64_t pattern_n, pattern_m;  // > 0: in every pattern_m columns pattern_n are pruned; see sweep_block
  float* scratch;           // [3 * width][kStrip]
  double *loss, *prune_loss;  // [kStrip] added to: of all weights, and of the pruned ones
};

struct Simd {
  // Transposes a strip: rows [live <= kStrip][columns] with row stride `stride` to target[step_of[j]][0..kStrip), zeros in
  // the rows beyond `live`.
  void (*load_strip)(const float* rows, int64_t stride, int64_t live, int64_t columns, const int32_t* step_of,
                     float* target);
  // target[j] += sum over i < depth of source[i] factor[i][j], for j < width. target and source [.][kStrip].
  void (*feed)(const float* source, const float* factor, int64_t factor_stride, int64_t depth, int64_t width, float* target);
  // Rounds or prunes the block column by column; see ColumnBlock. `spec` says how grids are made and how many codes there are.
  void (*sweep_block)(const GridSpec& spec, const ColumnBlock& block);
  // Writes block.scores: of the weights as they are before the block's first column.
  void (*block_scores)(const ColumnBlock& block);
  // Grids of a strip: values [count][stride], scales and zeros [kStrip].
  void (*strip_grid)(const GridSpec& spec, const float* values, int64_t count, int64_t stride, float* scales, float* zeros);
  // Grid of one row's contiguous values.
  Grid (*row_grid)(const GridSpec& spec, const float* values, int64_t count);
  // Codes of one row's contiguous values on one grid.
  void (*row_codes)(const GridSpec& spec, Grid grid, const float* values, int64_t count, uint8_t* codes);
};

const Simd& simd();  // of cpu_path()

extern const Simd kSimdPortable;
#if defined(__x86_64__)
extern const Simd kSimdAvx2, kSimdAvx512;
#endif

}  // namespace osc
