// This work is based on: E. Frantar et al., "GPTQ", 2022, algorithm 1, in the form of docs/numerics.md, as on the CPU
// (native/kernels/gptq_quantize_columns.cc). A block of columns is two launches: the product that brings it up to date, and
// the column recursion (column_sweep.cuh).
#include <vector>

#include "common/blas.h"
#include "common/column_sweep.cuh"
#include "common/memory.h"
#include "common/row_grids.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

constexpr int kSide = 32;  // of the tiles that are transposed

// The grid of each step of the sweep, the step of each column, the group of each column.
OSC_GLOBAL plan_steps(const int32_t* order, int64_t columns, int64_t group_size, bool dynamic, int32_t* grid_of,
                      int32_t* step_of, int32_t* group_index) {
  const int64_t t = global_thread();
  if (t >= columns) return;
  const int32_t column = order[t], grid = static_cast<int32_t>((dynamic ? t : column) / group_size);
  grid_of[t] = grid;
  step_of[column] = static_cast<int32_t>(t);
  group_index[column] = grid;
}

// W [rows, columns] to [steps, rows], dead columns as zero.
OSC_GLOBAL load_columns(const float* weight, int64_t stride, int64_t rows, int64_t columns, const int32_t* step_of,
                        const uint8_t* dead, float* target) {
  OSC_SHARED(float, tile, [kSide][kSide + 1]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.x) * kSide, column0 = static_cast<int64_t>(blockIdx.y) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + i, column = column0 + lane;
    if (row < rows && column < columns) tile[i][lane] = dead[column] ? 0.0F : weight[row * stride + column];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + lane, column = column0 + i;
    if (row < rows && column < columns) target[step_of[column] * rows + row] = tile[lane][i];
  }
}

// Codes [steps, rows] to [rows, columns].
OSC_GLOBAL store_codes(const uint8_t* source, int64_t rows, int64_t columns, const int32_t* step_of, uint8_t* codes) {
  OSC_SHARED(uint8_t, tile, [kSide][kSide + 4]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.x) * kSide, column0 = static_cast<int64_t>(blockIdx.y) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + lane, column = column0 + i;
    if (row < rows && column < columns) tile[i][lane] = source[step_of[column] * rows + row];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + i, column = column0 + lane;
    if (row < rows && column < columns) codes[row * columns + column] = tile[lane][i];
  }
}

// One layer on its way through the sweep.
class Quantizer {
 public:
  explicit Quantizer(GptqQuantizeColumnsArgs& args)
      : args_(args),
        rows_(args.weight.shape[0]),
        columns_(args.weight.shape[1]),
        groups_(args.group_size, columns_),
        dynamic_(groups_.count > 1 && !args.static_groups),
        block_(std::max<int64_t>(1, std::min(args.block_size, columns_))) {
    // Blocks start at group starts, so that every update has arrived when a grid is taken.
    if (dynamic_) block_ = groups_.size >= block_ ? groups_.size : block_ / groups_.size * groups_.size;
    span_ = std::max<int64_t>(1, 512 / block_) * block_;
  }

  Status allocate() {
    steps_ = DeviceBuffer<int32_t>(2 * columns_);
    weight_ = DeviceBuffer<float>(columns_ * rows_);
    codes_ = DeviceBuffer<uint8_t>(columns_ * rows_);
    current_ = DeviceBuffer<float>(std::min(span_, columns_) * rows_);
    solved_ = DeviceBuffer<float>(dynamic_ ? block_ * rows_ : 0);
    loss_ = DeviceBuffer<double>(rows_);
    for (const Status* status : {&steps_.status(), &weight_.status(), &codes_.status(), &current_.status(),
                                 &solved_.status(), &loss_.status()}) {
      if (status->code != OSC_OK) return *status;
    }
    return ok();
  }

  Status load() {
    if (columns_ == 0) return ok();
    OSC_TRY(launch(plan_steps, dim3(static_cast<unsigned>(blocks_for(columns_, 256))), dim3(256), 0,
                   data<const int32_t>(args_.order), columns_, groups_.size, dynamic_, grid_of(), step_of(),
                   data<int32_t>(args_.group_index)));
    if (rows_ == 0) return ok();
    OSC_TRY(set_zero(loss_.get(), rows_ * static_cast<int64_t>(sizeof(double))));
    return launch(load_columns, tiles(), dim3(kSide, 8), 0, data<const float>(args_.weight), args_.weight.strides[0], rows_,
                  columns_, step_of(), data<const uint8_t>(args_.dead), weight_.get());
  }

  // Columns [from, to) of the sweep.
  Status quantize(int64_t from, int64_t to) {
    // The lazy updates: at the start of a span all earlier columns feed the whole span at once (wide products run faster),
    // then each block gets what the earlier blocks of its span add.
    const int64_t start = from / span_ * span_, end = std::min(start + span_, columns_), ldn = args_.factor.strides[0];
    const float* n = data<const float>(args_.factor);
    float* current = current_.get() + (from - start) * rows_;
    if (from == start && start > 0) {
      OSC_TRY(gemm(Transpose::kYes, Transpose::kNo, end - start, rows_, start, 1.0F, n + start, ldn, weight_.get(), rows_, 0.0F,
                   current, rows_));
    } else if (from > start) {
      OSC_TRY(gemm(Transpose::kYes, Transpose::kNo, to - from, rows_, from - start, 1.0F, n + start * ldn + from, ldn,
                   weight_.get() + start * rows_, rows_, start > 0 ? 1.0F : 0.0F, current, rows_));
    }
    const Sweep work{spec(),
                     rows_,
                     from,
                     to - from,
                     dynamic_ ? groups_.size : 0,
                     n,
                     ldn,
                     data<const double>(args_.diagonal),
                     grid_of(),
                     weight_.get(),
                     current,
                     dynamic_ ? solved_.get() : nullptr,
                     codes_.get(),
                     data<float>(args_.scales),
                     data<uint8_t>(args_.zeros),
                     loss_.get()};
    const int searchers = dynamic_ && args_.mse ? kSearchers : 1;
    return launch(quantize_block, dim3(static_cast<unsigned>(blocks_for(rows_, kSweepRows))), dim3(kSweepRows, searchers), 0,
                  work);
  }

  Status run(const Context& context) {
    OSC_TRY(load());
    if (rows_ == 0) return ok();
    if (!dynamic_) {
      OSC_TRY(row_grids({data<const float>(args_.weight), args_.weight.strides[0], rows_, columns_, groups_.size,
                         groups_.count, data<const uint8_t>(args_.dead), data<float>(args_.scales),
                         data<uint8_t>(args_.zeros), nullptr},
                        spec()));
    }
    if (columns_ == 0) return ok();
    for (int64_t from = 0; from < columns_; from += block_) {
      if (cancelled(context)) return aborted();
      const int64_t to = std::min(from + block_, columns_);
      OSC_TRY(quantize(from, to));
      report(context, static_cast<double>(to), static_cast<double>(columns_));
    }
    OSC_TRY(launch(store_codes, tiles(), dim3(kSide, 8), 0, codes_.get(), rows_, columns_, step_of(),
                   data<uint8_t>(args_.codes)));
    std::vector<double> losses(static_cast<size_t>(rows_));
    OSC_TRY(copy_to_host(losses.data(), loss_.get(), rows_ * static_cast<int64_t>(sizeof(double))));
    for (const double loss : losses) args_.loss += loss;
    return cancelled(context) ? aborted() : ok();
  }

 private:
  int32_t* grid_of() const { return steps_.get(); }
  int32_t* step_of() const { return steps_.get() + columns_; }
  GridSpec spec() const { return {args_.bits, args_.sym != 0, args_.mse != 0, args_.float16_scales != 0}; }
  dim3 tiles() const {
    return dim3(static_cast<unsigned>(blocks_for(rows_, kSide)), static_cast<unsigned>(blocks_for(columns_, kSide)));
  }

  GptqQuantizeColumnsArgs& args_;
  int64_t rows_, columns_;
  Groups groups_;
  bool dynamic_;  // grids are taken from the current weights, during the sweep
  int64_t block_, span_;
  DeviceBuffer<int32_t> steps_;  // grid of each step, step of each column
  DeviceBuffer<float> weight_;   // W, column by column replaced by E
  DeviceBuffer<uint8_t> codes_;
  DeviceBuffer<float> current_, solved_;
  DeviceBuffer<double> loss_;
};

}  // namespace

Status gptq_quantize_columns(GptqQuantizeColumnsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  args.loss = 0;
  Quantizer quantizer(args);
  OSC_TRY(quantizer.allocate());
  return quantizer.run(context);
}

}  // namespace osc
