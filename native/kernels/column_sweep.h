// The column recursion that GPTQ, GPTAQ and SparseGPT share, in the form of docs/numerics.md: with H_d = R R^T,
// N_ij = R_ij / R_jj and E = W - Q, column j stands at W_j + sum_{i<j} E_i N_ij when its turn comes. They differ in what a
// column becomes: a point of a grid, zero, or itself.
#pragma once
#include <cstdint>
#include <vector>

#include "../core/memory.h"
#include "../core/status.h"
#include "../core/tensor.h"
#include "../simd/grid.h"
#include "../simd/simd.h"
#include "checks.h"

namespace osc {

// What a kernel asks for; tensors as in gptq_quantize_columns.
struct SweepRequest {
  Tensor weight, factor, diagonal, order, dead;
  int64_t block_size = 128;
  // Quantization. bits 0: none.
  int64_t bits = 0, sym = 0, group_size = -1, static_groups = 1, mse = 0, float16_scales = 0;
  // Pruning: n of every m consecutive columns; or by scores that the caller compares with a threshold; or none.
  bool prunes = false;
  int64_t n = 0, m = 0;
  Tensor held{};  // [out, in] bool, 0 where a weight is pruned whatever its score; may be absent
  // GPTAQ: M_ij, an upper triangle like factor; column j also gets sum_{i<j} w_i M_ij, w_i being column i when its turn came.
  Tensor correction{};
};

// What all tiles share.
class SweepPlan {
 public:
  explicit SweepPlan(const SweepRequest& request);

  // The checks that keep the sweep inside its buffers; call before constructing.
  static Status check(const SweepRequest& request);

  int64_t tiles() const { return rows ? (rows + rows_per_tile - 1) / rows_per_tile : 0; }
  int64_t tile_bytes() const;  // about, for messages

  const SweepRequest request;
  GridSpec spec;
  Groups groups;
  int64_t rows, columns, rows_per_tile;
  bool dynamic;   // grids are taken from the current weights, during the sweep
  int64_t block;  // columns done before the rest is updated
  int64_t span;   // columns that get their updates from far columns by one product: a few blocks
  std::vector<int32_t> grid_of;       // of each step of the sweep
  std::vector<int32_t> step_of;       // of each column
  std::vector<int32_t> column_group;  // of each column: its grid
  std::vector<float> score_weight;    // of each step: R_jj / max R
};

// A tile of rows, strip after strip of kStrip rows, transposed: [strip][column of the sweep][kStrip], zero rows as padding.
// So what a strip holds is an operand of the products as it lies, and the BLAS, which would pack it again for every product,
// is not asked.
class SweepTile {
 public:
  SweepTile(const SweepPlan& plan, int64_t index);
  SweepTile(SweepTile&&) = default;

  bool allocated() const;
  void load();          // weights to columns
  void static_grids();  // grids of the original columns: one per row, or one per group

  // The lazy updates of columns [from, to), one block: everything earlier columns add to them.
  void gather(int64_t from, int64_t to);
  // Scores |w| R_jj / max R of the block's weights as they are now, [strip][to - from][kStrip]: -1 where held at zero, +Inf
  // in padding rows. After gather.
  float* scores(int64_t from, int64_t to);
  // Rounds or prunes the block column by column. After gather; prunes where scores() <= threshold, unless the plan has n:m.
  void sweep(int64_t from, int64_t to, float threshold);

  // Results back to rows and original columns. Tensors that are empty are skipped.
  void store_codes(const Tensor& codes, const Tensor& scales, const Tensor& zeros) const;
  void store_weight(const Tensor& weight, const Tensor& mask) const;

  int64_t live() const { return live_; }
  int64_t padded() const { return rows_; }  // rows, up to a whole strip
  double loss() const { return sum(loss_); }              // 1/2 sum R_jj^2 (w - q)^2
  double pruning_loss() const { return sum(prune_loss_); }  // the part of pruned weights

 private:
  double sum(const std::vector<double>& of_row) const;
  int64_t factor_stride() const { return plan_->block + 4; }  // not a power of two
  // Where column t of the sweep is for row r (or the strip that begins there), among `width` columns.
  static int64_t at(int64_t r, int64_t t, int64_t width) { return r / kStrip * kStrip * width + t * kStrip + r % kStrip; }
  int64_t at(int64_t r, int64_t t) const { return at(r, t, plan_->columns); }
  float* pending(int64_t strip, int64_t t) const { return pending_.get() + at(strip, t % plan_->span, plan_->span); }
  void feed(const Tensor& factor, const Buffer<float>& source, int64_t first, int64_t last, int64_t from, int64_t to);
  void copy_block(const Tensor& factor, int64_t from, int64_t width, float* target) const;
  ColumnBlock block_of(int64_t from, int64_t to, int64_t strip, float threshold) const;
  template <class T, class Get>
  void transpose_back(T* target, Get get) const;

  const SweepPlan* plan_;
  int64_t first_, live_, rows_;
  Buffer<float> weight_;  // W, column by column replaced by E
  Buffer<float> seen_;    // GPTAQ: the columns as they were when their turn came
  Buffer<uint8_t> codes_, mask_, held_;
  Buffer<float> pending_, scores_, factor_, correction_, scratch_, scales_, zeros_;
  std::vector<double> loss_, prune_loss_;
};

}  // namespace osc
