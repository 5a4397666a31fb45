// A layer on its way through the column recursion (column_sweep.cuh): its matrices column by column, and the products that bring a
// block of columns up to date. What gptq_quantize_columns and sparsegpt_prune_columns have in common.
#pragma once
#include <algorithm>
#include <vector>

#include "common/blas.h"
#include "common/column_sweep.cuh"
#include "common/memory.h"
#include "common/row_grids.cuh"
#include "core/context.h"
#include "kernels/checks.h"

namespace osc {
namespace {

constexpr int kLayerSide = 32;  // of the tiles that are transposed

// The grid of each step of the sweep, the step of each column, the group of each column.
OSC_GLOBAL plan_steps(const int32_t* order, int64_t columns, int64_t group_size, bool dynamic, int32_t* grid_of,
                      int32_t* step_of, int32_t* group_index) {
  const int64_t t = global_thread();
  if (t >= columns) return;
  const int32_t column = order[t], grid = static_cast<int32_t>((dynamic ? t : column) / group_size);
  grid_of[t] = grid;
  step_of[column] = static_cast<int32_t>(t);
  if (group_index) group_index[column] = grid;
}

// A matrix [rows, columns] to [steps, rows], dead columns, when they are given, as zero.
template <class T>
OSC_GLOBAL load_columns(const T* weight, int64_t stride, int64_t rows, int64_t columns, const int32_t* step_of,
                        const uint8_t* dead, T* target) {
  OSC_SHARED(T, tile, [kLayerSide][kLayerSide + (sizeof(T) == 1 ? 4 : 1)]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.x) * kLayerSide, column0 = static_cast<int64_t>(blockIdx.y) * kLayerSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kLayerSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + i, column = column0 + lane;
    if (row < rows && column < columns) tile[i][lane] = dead && dead[column] ? T(0) : weight[row * stride + column];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kLayerSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + lane, column = column0 + i;
    if (row < rows && column < columns) target[step_of[column] * rows + row] = tile[lane][i];
  }
}

// A matrix [steps, rows] to [rows, columns].
template <class T>
OSC_GLOBAL store_columns(const T* source, int64_t rows, int64_t columns, const int32_t* step_of, T* target) {
  OSC_SHARED(T, tile, [kLayerSide][kLayerSide + (sizeof(T) == 1 ? 4 : 1)]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.x) * kLayerSide, column0 = static_cast<int64_t>(blockIdx.y) * kLayerSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kLayerSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + lane, column = column0 + i;
    if (row < rows && column < columns) tile[i][lane] = source[step_of[column] * rows + row];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kLayerSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + i, column = column0 + lane;
    if (row < rows && column < columns) target[row * columns + column] = tile[lane][i];
  }
}

// What a kernel asks for; tensors as in gptq_quantize_columns and sparsegpt_prune_columns, those without data are absent.
struct LayerRequest {
  Tensor weight, factor, diagonal, order, dead, correction{}, held{};
  GridSpec spec{0, false, false, false};  // bits 0: nothing is quantized
  int64_t group_size = -1;
  bool dynamic_grids = false;  // taken from the current weights, when there is more than one
  bool prunes = false;
  int64_t n = 0, m = 0, block_size = 128;
};

class LayerSweep {
 public:
  explicit LayerSweep(const LayerRequest& request)
      : r_(request),
        rows_(request.weight.shape[0]),
        columns_(request.weight.shape[1]),
        groups_(request.group_size, columns_),
        dynamic_(request.spec.bits > 0 && groups_.count > 1 && request.dynamic_grids),
        block_(std::max<int64_t>(1, std::min(request.block_size, columns_))) {
    // Blocks start at group starts, so that every update has arrived when a grid is taken or a group is pruned.
    const int64_t unit = dynamic_ ? groups_.size : std::min(request.m, std::max<int64_t>(columns_, 1));
    if (unit > 0) block_ = unit >= block_ ? unit : block_ / unit * unit;
    span_ = std::max<int64_t>(1, 512 / block_) * block_;
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t block() const { return block_; }
  const Groups& groups() const { return groups_; }
  bool dynamic() const { return dynamic_; }

  Status allocate() {
    const int64_t size = columns_ * rows_, of_block = block_ * rows_;
    const bool quantizes = r_.spec.bits > 0, corrects = r_.correction.data != nullptr;
    steps_ = DeviceBuffer<int32_t>(2 * columns_);
    weight_ = DeviceBuffer<float>(size);
    seen_ = DeviceBuffer<float>(corrects ? size : 0);
    codes_ = DeviceBuffer<uint8_t>(quantizes ? size : 0);
    mask_ = DeviceBuffer<uint8_t>(r_.prunes ? size : 0);
    held_ = DeviceBuffer<uint8_t>(r_.held.data ? size : 0);
    current_ = DeviceBuffer<float>(std::min(span_, columns_) * rows_);
    solved_ = DeviceBuffer<float>(dynamic_ || r_.prunes ? of_block : 0);
    marks_ = DeviceBuffer<float>(r_.prunes ? of_block : 0);
    score_weight_ = DeviceBuffer<float>(r_.prunes ? columns_ : 0);
    loss_ = DeviceBuffer<double>(2 * rows_);
    for (const Status* status :
         {&steps_.status(), &weight_.status(), &seen_.status(), &codes_.status(), &mask_.status(), &held_.status(),
          &current_.status(), &solved_.status(), &marks_.status(), &score_weight_.status(), &loss_.status()}) {
      if (status->code != OSC_OK) return *status;
    }
    return ok();
  }

  // Everything to columns. group_index [columns] may be null.
  Status load(int32_t* group_index) {
    if (columns_ == 0) return ok();
    OSC_TRY(launch(plan_steps, dim3(static_cast<unsigned>(blocks_for(columns_, 256))), dim3(256), 0,
                   data<const int32_t>(r_.order), columns_, groups_.size, dynamic_, grid_of(), step_of(), group_index));
    if (rows_ == 0) return ok();
    OSC_TRY(set_zero(loss_.get(), 2 * rows_ * static_cast<int64_t>(sizeof(double))));
    OSC_TRY(launch(load_columns<float>, tiles(), dim3(kLayerSide, 8), 0, data<const float>(r_.weight), r_.weight.strides[0],
                   rows_, columns_, step_of(), data<const uint8_t>(r_.dead), weight_.get()));
    if (r_.held.data) {
      OSC_TRY(launch(load_columns<uint8_t>, tiles(), dim3(kLayerSide, 8), 0, data<const uint8_t>(r_.held), r_.held.strides[0],
                     rows_, columns_, step_of(), static_cast<const uint8_t*>(nullptr), held_.get()));
    }
    return r_.prunes ? load_score_weights() : ok();
  }

  // Grids of the original columns. `rows` is not 0.
  Status static_grids(float* scales, uint8_t* zeros) const {
    return row_grids({data<const float>(r_.weight), r_.weight.strides[0], rows_, columns_, groups_.size, groups_.count,
                      data<const uint8_t>(r_.dead), scales, zeros, nullptr},
                     r_.spec);
  }

  // The lazy updates of columns [from, to) of the sweep, one block: at the start of a span all earlier columns feed the whole span
  // at once (wide products run faster), then each block gets what the earlier blocks of its span add.
  Status gather(int64_t from, int64_t to) const {
    OSC_TRY(feed(r_.factor, weight_.get(), from, to, false));
    return r_.correction.data ? feed(r_.correction, seen_.get(), from, to, true) : ok();
  }

  // Scores of the block to marks(). After gather.
  Status score(int64_t from, int64_t to) const { return launch(score_block, grid(), dim3(kSweepRows), 0, work(from, to, 0)); }

  // Settles the block column by column. After gather; prunes where marks() are at most `threshold`, unless it is n of m.
  Status settle(int64_t from, int64_t to, float* scales, uint8_t* zeros, float threshold) const {
    Sweep sweep = work(from, to, threshold);
    sweep.scales = scales;
    sweep.zeros = zeros;
    if (r_.prunes) {
      return r_.spec.bits > 0 ? settle_as<Turn::kPruneQuantize>(sweep, false) : settle_as<Turn::kPrune>(sweep, false);
    }
    const bool searches = dynamic_ && r_.spec.mse;
    return r_.correction.data ? settle_as<Turn::kCorrect>(sweep, searches) : settle_as<Turn::kQuantize>(sweep, searches);
  }

  // Back to rows and original columns.
  Status store_codes(uint8_t* codes) const { return store(codes_.get(), codes); }
  Status store_mask(uint8_t* mask) const { return store(mask_.get(), mask); }
  Status store_errors(float* errors) const { return store(static_cast<const float*>(weight_.get()), errors); }

  float* marks() const { return marks_.get(); }

  // Sums over the rows; waits.
  Status losses(double* all, double* pruned) const {
    std::vector<double> of_row(static_cast<size_t>(2 * rows_));
    if (rows_ > 0 && columns_ > 0) OSC_TRY(copy_to_host(of_row.data(), loss_.get(), 2 * rows_ * static_cast<int64_t>(sizeof(double))));
    *all = *pruned = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      *all += of_row[static_cast<size_t>(row)];
      *pruned += of_row[static_cast<size_t>(rows_ + row)];
    }
    return ok();
  }

 private:
  int32_t* grid_of() const { return steps_.get(); }
  int32_t* step_of() const { return steps_.get() + columns_; }
  dim3 grid() const { return dim3(static_cast<unsigned>(blocks_for(rows_, kSweepRows))); }
  dim3 tiles() const {
    return dim3(static_cast<unsigned>(blocks_for(rows_, kLayerSide)), static_cast<unsigned>(blocks_for(columns_, kLayerSide)));
  }

  template <Turn kTurn>
  Status settle_as(const Sweep& sweep, bool searches) const {
    return launch(sweep_block<kTurn>, grid(), dim3(kSweepRows, searches ? searchers_of(kTurn) : 1), 0, sweep);
  }

  template <class T>
  Status store(const T* source, T* target) const {
    return launch(store_columns<T>, tiles(), dim3(kLayerSide, 8), 0, source, rows_, columns_, step_of(), target);
  }

  // R_jj / max R.
  Status load_score_weights() const {
    std::vector<double> diagonal(static_cast<size_t>(columns_));
    OSC_TRY(copy_to_host(diagonal.data(), r_.diagonal.data, columns_ * static_cast<int64_t>(sizeof(double))));
    const double largest = *std::max_element(diagonal.begin(), diagonal.end());
    std::vector<float> weights;
    for (const double r : diagonal) weights.push_back(static_cast<float>(r / largest));
    return copy_to_device(score_weight_.get(), weights.data(), columns_ * static_cast<int64_t>(sizeof(float)));
  }

  // current of [from, to) (+)= what earlier columns of `source` add by an upper triangle.
  Status feed(const Tensor& triangle, const float* source, int64_t from, int64_t to, bool more) const {
    const int64_t start = from / span_ * span_, end = std::min(start + span_, columns_), ld = triangle.strides[0];
    const float* n = data<const float>(triangle);
    float* current = current_.get() + (from - start) * rows_;
    if (from == start && start > 0) {
      return gemm(Transpose::kYes, Transpose::kNo, end - start, rows_, start, 1.0F, n + start, ld, source, rows_, more ? 1.0F : 0.0F,
                  current, rows_);
    }
    if (from == start) return ok();
    return gemm(Transpose::kYes, Transpose::kNo, to - from, rows_, from - start, 1.0F, n + start * ld + from, ld,
                source + start * rows_, rows_, more || start > 0 ? 1.0F : 0.0F, current, rows_);
  }

  Sweep work(int64_t from, int64_t to, float threshold) const {
    Sweep sweep{};
    sweep.spec = r_.spec;
    sweep.rows = rows_;
    sweep.from = from;
    sweep.width = to - from;
    sweep.group = dynamic_ ? groups_.size : 0;
    sweep.factor = data<const float>(r_.factor);
    sweep.factor_stride = r_.factor.strides[0];
    sweep.diagonal = data<const double>(r_.diagonal);
    sweep.grid_of = grid_of();
    sweep.weight = weight_.get();
    sweep.current = current_.get() + (from - from / span_ * span_) * rows_;
    sweep.solved = solved_.get();
    sweep.codes = codes_.get();
    sweep.loss = loss_.get();
    if (r_.correction.data) {
      sweep.correction = data<const float>(r_.correction);
      sweep.correction_stride = r_.correction.strides[0];
      sweep.seen = seen_.get();
    }
    if (r_.prunes) {
      sweep.marks = marks_.get();
      sweep.threshold = threshold;
      sweep.score_weight = score_weight_.get();
      sweep.held = r_.held.data ? held_.get() : nullptr;
      sweep.n = r_.n;
      sweep.m = r_.m;
      sweep.mask = mask_.get();
      sweep.prune_loss = loss_.get() + rows_;
    }
    return sweep;
  }

  const LayerRequest r_;
  int64_t rows_, columns_;
  Groups groups_;
  bool dynamic_;  // grids are taken from the current weights, during the sweep
  int64_t block_, span_;
  DeviceBuffer<int32_t> steps_;  // grid of each step, step of each column
  DeviceBuffer<float> weight_;   // W, column by column replaced by E
  DeviceBuffer<float> seen_;     // GPTAQ: the columns as they were when their turn came
  DeviceBuffer<uint8_t> codes_, mask_, held_;
  DeviceBuffer<float> current_, solved_, marks_, score_weight_;
  DeviceBuffer<double> loss_;  // [2, rows]: of all weights, of the pruned ones
};

}  // namespace
}  // namespace osc
