// This work is based on: E. Frantar et al., "GPTQ", 2022, algorithm 1, in the form of docs/numerics.md: with H_d = R R^T,
// N_ij = R_ij / R_jj and E = W - Q, column j is rounded from W_j + sum_{i<j} E_i N_ij.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "../simd/grid.h"
#include "../simd/simd.h"

namespace osc {
namespace {

// Rows of a tile, a multiple of kStrip that depends on the number of rows alone: tiles of equal size, an even number of them.
int64_t tile_rows(int64_t rows) {
  const int64_t tiles = std::max<int64_t>(2, (rows + 1023) / 1024 * 2);
  return ((rows + tiles - 1) / tiles + kStrip - 1) / kStrip * kStrip;
}

// What all tiles share.
struct Layer {
  GptqQuantizeColumnsArgs& args;
  GridSpec spec;
  Groups groups;
  bool dynamic;        // grids are taken from the current weights, during the sweep
  int64_t rows, columns, block;
  int64_t span;        // columns that get their updates from far columns by one product: a few blocks
  std::vector<int32_t> grid_of;  // of each step of the sweep
  std::vector<int32_t> step_of;  // of each column

  explicit Layer(GptqQuantizeColumnsArgs& a)
      : args(a),
        spec{a.bits, a.sym != 0, a.mse != 0, a.float16_scales != 0},
        groups(a.group_size, a.weight.shape[1]),
        dynamic(groups.count > 1 && !a.static_groups),
        rows(a.weight.shape[0]),
        columns(a.weight.shape[1]),
        block(std::clamp<int64_t>(a.block_size, 1, std::max<int64_t>(a.weight.shape[1], 1))),
        grid_of(static_cast<size_t>(columns)),
        step_of(static_cast<size_t>(columns)) {
    // Blocks start at group starts, so that every update has arrived when a grid is taken.
    if (dynamic) block = groups.size >= block ? groups.size : block / groups.size * groups.size;
    span = std::max<int64_t>(1, 512 / block) * block;
    const int32_t* order = data<int32_t>(args.order);
    for (int64_t t = 0; t < columns; ++t) {
      const int64_t grid = (dynamic ? t : order[t]) / groups.size;
      grid_of[static_cast<size_t>(t)] = static_cast<int32_t>(grid);
      step_of[static_cast<size_t>(order[t])] = static_cast<int32_t>(t);
      data<int32_t>(args.group_index)[order[t]] = static_cast<int32_t>(grid);
    }
  }
};

// A tile of rows, transposed: column t of the sweep is contiguous, `rows` floats with zero rows as padding.
class Tile {
 public:
  Tile(const Layer& layer, int64_t first)
      : layer_(layer),
        first_(first),
        live_(std::min(tile_rows(layer.rows), layer.rows - first)),
        rows_((live_ + kStrip - 1) / kStrip * kStrip),
        weight_(layer.columns * rows_),
        codes_(layer.columns * rows_),
        pending_(layer.span * rows_),
        factor_(layer.block * factor_stride()),
        scratch_(3 * layer.block * kStrip),
        scales_(layer.groups.count * rows_),
        zeros_(layer.groups.count * rows_),
        loss_(static_cast<size_t>(rows_)) {}

  bool allocated() const { return weight_ && codes_ && pending_ && factor_ && scratch_ && scales_ && zeros_; }
  int64_t live() const { return live_; }

  void load() {
    const uint8_t* dead = data<uint8_t>(layer_.args.dead);
    const int64_t ldw = layer_.args.weight.strides[0];
    const float* w = data<float>(layer_.args.weight) + first_ * ldw;
    for (int64_t s = 0; s < rows_; s += kStrip) {
      simd().load_strip(w + s * ldw, ldw, std::min(kStrip, live_ - s), layer_.columns, layer_.step_of.data(),
                        weight_.get() + s, rows_);
    }
    for (int64_t j = 0; j < layer_.columns; ++j) {
      if (dead[j]) std::fill_n(weight_.get() + layer_.step_of[static_cast<size_t>(j)] * rows_, rows_, 0.0F);
    }
  }

  // Grids of the original columns, before the sweep: one per row, or one per group.
  void static_grids() {
    const int64_t columns = layer_.columns, size = layer_.groups.size;
    if (layer_.dynamic) return;
    std::vector<float> values(static_cast<size_t>(size * kStrip));
    for (int64_t s = 0; s < rows_; s += kStrip) {
      for (int64_t g = 0; g < layer_.groups.count; ++g) {
        const int64_t from = g * size, to = std::min(from + size, columns);
        for (int64_t j = from; j < to; ++j) {
          std::memcpy(values.data() + (j - from) * kStrip, weight_.get() + layer_.step_of[static_cast<size_t>(j)] * rows_ + s,
                      kStrip * sizeof(float));
        }
        simd().strip_grid(layer_.spec, values.data(), to - from, kStrip, scales_.get() + g * rows_ + s,
                          zeros_.get() + g * rows_ + s);
      }
    }
  }

  // Columns [from, to) of the sweep, one block.
  void quantize(int64_t from, int64_t to) {
    const int64_t width = to - from, ldn = layer_.args.factor.strides[0];
    const float* n = data<float>(layer_.args.factor);
    // The lazy updates: at the start of a span all earlier columns feed the whole span at once (wide products run faster),
    // then each block gets what the earlier blocks of its span add.
    const int64_t start = from / layer_.span * layer_.span, end = std::min(start + layer_.span, layer_.columns);
    float* pending = pending_.get() + (from - start) * rows_;
    if (from == start && start > 0) {
      gemm(CblasTrans, CblasNoTrans, end - start, rows_, start, 1.0F, n + start, ldn, weight_.get(), rows_, 0.0F, pending,
           rows_);
    } else if (from > start) {
      gemm(CblasTrans, CblasNoTrans, width, rows_, from - start, 1.0F, n + start * ldn + from, ldn,
           weight_.get() + start * rows_, rows_, start > 0 ? 1.0F : 0.0F, pending, rows_);
    }
    for (int64_t i = 0; i < width; ++i) {
      std::memcpy(factor_.get() + i * factor_stride(), n + (from + i) * ldn + from, static_cast<size_t>(width) * sizeof(float));
    }
    for (int64_t s = 0; s < rows_; s += kStrip) {
      float* weight = weight_.get() + from * rows_ + s;
      simd().quantize_block(layer_.spec, ColumnBlock{
          .width = width,
          .weight = weight,
          .error = weight,
          .stride = rows_,
          .pending = from > 0 ? pending + s : nullptr,
          .factor = factor_.get(),
          .factor_stride = factor_stride(),
          .diagonal = data<double>(layer_.args.diagonal) + from,
          .codes = codes_.get() + from * rows_ + s,
          .codes_stride = rows_,
          .grid_of = layer_.grid_of.data() + from,
          .scales = scales_.get() + s,
          .zeros = zeros_.get() + s,
          .grid_stride = rows_,
          .dynamic_group = layer_.dynamic ? layer_.groups.size : 0,
          .scratch = scratch_.get(),
          .loss = loss_.data() + s,
      });
    }
  }

  // Codes back to rows and original columns; scales and zeros to [groups, out].
  void store() {
    constexpr int64_t kCut = 64;
    const int64_t columns = layer_.columns, out = layer_.rows;
    const int32_t* order = data<int32_t>(layer_.args.order);
    uint8_t* codes = data<uint8_t>(layer_.args.codes) + first_ * columns;
    const bool in_order = std::is_sorted(order, order + columns);
    for (int64_t r0 = 0; r0 < live_; r0 += kCut) {
      const int64_t rows = std::min(kCut, live_ - r0);
      for (int64_t t0 = 0; t0 < columns; t0 += kCut) {
        const int64_t steps = std::min(kCut, columns - t0);
        uint8_t cut[kCut][kCut];
        for (int64_t t = 0; t < steps; ++t) {
          const uint8_t* source = codes_.get() + (t0 + t) * rows_ + r0;
          for (int64_t r = 0; r < rows; ++r) cut[r][t] = source[r];
        }
        for (int64_t r = 0; r < rows; ++r) {
          uint8_t* row = codes + (r0 + r) * columns;
          if (in_order) {
            std::memcpy(row + t0, cut[r], static_cast<size_t>(steps));
          } else {
            for (int64_t t = 0; t < steps; ++t) row[order[t0 + t]] = cut[r][t];
          }
        }
      }
    }
    for (int64_t g = 0; g < layer_.groups.count; ++g) {
      float* scales = data<float>(layer_.args.scales) + g * out + first_;
      uint8_t* zeros = data<uint8_t>(layer_.args.zeros) + g * out + first_;
      for (int64_t r = 0; r < live_; ++r) {
        scales[r] = scales_[g * rows_ + r];
        zeros[r] = static_cast<uint8_t>(zeros_[g * rows_ + r]);
      }
    }
  }

  double loss() const {
    double sum = 0;
    for (int64_t r = 0; r < live_; ++r) sum += loss_[static_cast<size_t>(r)];
    return sum;
  }

 private:
  int64_t factor_stride() const { return layer_.block + 4; }  // not a power of two

  const Layer& layer_;
  int64_t first_, live_, rows_;
  Buffer<float> weight_;  // W, column by column replaced by E
  Buffer<uint8_t> codes_;
  Buffer<float> pending_, factor_, scratch_, scales_, zeros_;
  std::vector<double> loss_;
};

}  // namespace

Status gptq_quantize_columns(GptqQuantizeColumnsArgs& args, const Context& context) {
  const Tensor& weight = args.weight;
  if (weight.rank != 2 || weight.dtype != OSC_FLOAT32 || (weight.shape[1] > 1 && weight.strides[1] != 1)) {
    return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  }
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  const Groups groups(args.group_size, columns);
  if (size_of(args.order) != columns || size_of(args.dead) != columns || size_of(args.diagonal) != columns ||
      size_of(args.factor) != columns * columns || size_of(args.group_index) != columns) {
    return fail(OSC_ARGUMENT, 0, "the factor is not of this layer's width");
  }
  if (size_of(args.codes) != rows * columns || size_of(args.scales) != groups.count * rows ||
      size_of(args.zeros) != groups.count * rows) {
    return fail(OSC_ARGUMENT, 0, "codes, scales or zeros have the wrong size");
  }
  if (args.bits < 1 || args.bits > 8 || args.group_size == 0) return fail(OSC_ARGUMENT, 0, "bits or group_size out of range");
  const Layer layer(args);
  const int64_t per_tile = tile_rows(rows), tiles = rows ? (rows + per_tile - 1) / per_tile : 0;
  std::vector<double> losses(static_cast<size_t>(tiles));
  std::atomic<int64_t> columns_done{0}, missing_bytes{0};
  const bool done = parallel_for(tiles, context, [&](int64_t index) {
    Tile tile(layer, index * per_tile);
    if (!tile.allocated()) {
      missing_bytes.store(columns * per_tile * 5);
      return;
    }
    tile.load();
    tile.static_grids();
    for (int64_t from = 0; from < columns; from += layer.block) {
      if (cancelled(context)) return;
      const int64_t to = std::min(from + layer.block, columns);
      tile.quantize(from, to);
      columns_done.fetch_add(to - from, std::memory_order_relaxed);
      report(context, static_cast<double>(columns_done.load(std::memory_order_relaxed)),
             static_cast<double>(columns * tiles));
    }
    tile.store();
    losses[static_cast<size_t>(index)] = tile.loss();
  });
  if (missing_bytes.load()) return fail(OSC_OUT_OF_MEMORY, missing_bytes.load(), "no memory for a tile of rows");
  if (!done || cancelled(context)) return aborted();
  args.loss = 0;
  for (const double loss : losses) args.loss += loss;
  return ok();
}

}  // namespace osc
