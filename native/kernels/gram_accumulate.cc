#include "gram_accumulate.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "../simd/gram_tile.h"

namespace osc {
namespace {

constexpr int64_t kDepth = 256;       // tokens a tile goes over at a time: its panels then fit the second-level cache
constexpr int64_t kMaxPanels = 8;     // of a side of a tile
constexpr int64_t kPackRows = 128;
constexpr int64_t kPanelPad = 208;    // floats between panels, so that they do not fall on the same cache sets

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Panels of a side of a tile: as large as the cache likes, but four sides a matrix, so that there are tiles to share.
int64_t panels_of_tile(int64_t panels) { return std::clamp<int64_t>(divide_up(panels, 4), 1, kMaxPanels); }

void add_row(const float* row, int64_t count, const double* before, double* after) {
  gram_simd().add_row(row, count, before, after);
}
void add_row(const float* row, int64_t count, const float* before, float* after) {
  for (int64_t j = 0; j < count; ++j) after[j] = before[j] + row[j];
}

}  // namespace

GramAccumulator::GramAccumulator(int64_t in, int64_t rows, int64_t chunks, int threads)
    : in_(in),
      panel_count_(divide_up(in, kGramPanel)),
      panel_stride_(rows * kGramPanel + kPanelPad),
      tile_width_(panels_of_tile(panel_count_) * kGramPanel),
      held_(chunks > 1 && in <= kGramHeldColumns),
      slots_(threads) {
  const int64_t side = tile_width_ / kGramPanel;
  for (int64_t i = 0; i < panel_count_; i += side) {
    for (int64_t j = 0; j <= i; j += side) {
      tiles_.push_back({i, std::min(side, panel_count_ - i), j, std::min(side, panel_count_ - j)});
    }
  }
  // Large ones first: the last ones to start then end at nearly the same time.
  std::stable_partition(tiles_.begin(), tiles_.end(), [](const Tile& t) { return t.row_panel != t.column_panel; });
  panels_ = Buffer<float>((chunks > 1 ? 2 : 1) * panel_count_ * panel_stride_);
  if (held_) total_ = Buffer<double>(in * in);
  sums_ = Buffer<float>(threads * tile_width_ * tile_width_);
}

int64_t GramAccumulator::width(int64_t panel) const {
  return divide_up(std::min(kGramPanel, in_ - panel * kGramPanel), kGramUnit) * kGramUnit;
}

// Rows [from, to) of the chunk, to all panels. Returns whether all were finite.
bool GramAccumulator::pack(const GramRows& x, int64_t from, int64_t to, float* panels) const {
  const int64_t whole = in_ / kGramPanel, rest = in_ % kGramPanel, last = rest ? width(whole) : 0;
  const GramSimd& simd = gram_simd();
  bool finite = true;
  for (int64_t k = from; k < to; ++k) {
    const float* source = x.data + k * x.stride;
    finite &= simd.pack_row(source, whole, panels + k * kGramPanel, panel_stride_);
    if (!rest) continue;
    source += whole * kGramPanel;
    finite &= simd.all_finite(source, rest);
    float* target = panels + whole * panel_stride_ + k * last;
    for (int64_t j = 0; j < rest; ++j) target[j] = source[j];
    for (int64_t j = rest; j < last; ++j) target[j] = 0;
  }
  return finite;
}

// sum [.][tile_width_] = the tile's part of X^T X over the packed rows; on the diagonal only what the lower half needs.
void GramAccumulator::multiply(const Tile& tile, const float* panels, int64_t rows, float* sum) const {
  const auto run = gram_simd().tile;
  for (int64_t k = 0; k < rows; k += kDepth) {
    const int64_t depth = std::min(kDepth, rows - k);
    for (int64_t i = 0; i < tile.row_panels; ++i) {
      const int64_t row_panel = tile.row_panel + i, row_width = width(row_panel);
      const int64_t valid = std::min(kGramPanel, in_ - row_panel * kGramPanel);
      // 16 rows share their cache lines; they stay in the first-level cache while the column panels stream by.
      for (int64_t r = 0; r < valid; r += kGramUnit) {
        for (int64_t j = 0; j < tile.column_panels; ++j) {
          const int64_t column_panel = tile.column_panel + j;
          if (column_panel > row_panel) break;
          const int64_t column_width = width(column_panel);
          for (int64_t h = r; h < std::min(valid, r + kGramUnit); h += kGramRows) {
            const int64_t needed = column_panel == row_panel ? h / kGramUnit + 1 : column_width / kGramUnit;
            run({needed, depth, panels + row_panel * panel_stride_ + k * row_width + h, row_width,
                 panels + column_panel * panel_stride_ + k * column_width, column_width,
                 sum + (i * kGramPanel + h) * tile_width_ + j * kGramPanel, tile_width_, k > 0});
          }
        }
      }
    }
  }
}

template <class Real>
void GramAccumulator::add_tile(const Tile& tile, const float* sum, const Real* before, Real* after) const {
  const int64_t first_row = tile.row_panel * kGramPanel, first_column = tile.column_panel * kGramPanel;
  const int64_t end_row = std::min(in_, first_row + tile.row_panels * kGramPanel);
  const int64_t end_column = std::min(in_, first_column + tile.column_panels * kGramPanel);
  for (int64_t i = first_row; i < end_row; ++i, sum += tile_width_) {
    const int64_t at = i * in_ + first_column;
    add_row(sum, std::min(end_column, i + 1) - first_column, before + at, after + at);
  }
}

template <class Real>
GramAccumulator::Outcome GramAccumulator::add_chunks(std::span<const GramRows> chunks, int64_t rows, Real* accumulator,
                                                     const Context& context) {
  const int64_t count = static_cast<int64_t>(chunks.size()), tiles = static_cast<int64_t>(tiles_.size());
  const int64_t blocks = divide_up(rows, kPackRows);
  Real* total = held_ ? reinterpret_cast<Real*>(total_.get()) : accumulator;
  std::atomic<bool> finite{true};
  const auto pack_block = [&](int64_t chunk, int64_t block) {
    const int64_t from = block * kPackRows, to = std::min(rows, from + kPackRows);
    if (!pack(chunks[static_cast<size_t>(chunk)], from, to, panels(chunk))) finite = false;
  };
  if (!parallel_for(blocks, context, [&](int64_t block) { pack_block(0, block); })) return Outcome::kCancelled;
  for (int64_t chunk = 0; chunk < count; ++chunk) {
    if (!finite) return Outcome::kNotFinite;
    const bool last = chunk + 1 == count;
    const Real* before = chunk == 0 ? accumulator : total;
    Real* after = last ? accumulator : total;
    // Tiles first: the small blocks of the next chunk then fill the gaps at the end.
    const bool done = parallel_for(tiles + (last ? 0 : blocks), context, [&](int64_t index) {
      if (index >= tiles) return pack_block(chunk + 1, index - tiles);
      const Tile& tile = tiles_[static_cast<size_t>(index)];
      const int64_t slot = slots_.take();
      float* sum = sums_.get() + slot * tile_width_ * tile_width_;
      multiply(tile, panels(chunk), rows, sum);
      add_tile(tile, sum, before, after);
      slots_.give(slot);
    });
    if (!done) return Outcome::kCancelled;
    report(context, static_cast<double>(chunk + 1), static_cast<double>(count));
  }
  return Outcome::kDone;
}

GramAccumulator::Outcome GramAccumulator::add(std::span<const GramRows> chunks, int64_t rows, const Tensor& accumulator,
                                              const Context& context) {
  if (chunks.empty()) return Outcome::kDone;
  return accumulator.dtype == OSC_FLOAT64 ? add_chunks(chunks, rows, data<double>(accumulator), context)
                                          : add_chunks(chunks, rows, data<float>(accumulator), context);
}

int64_t first_non_finite(const float* x, int64_t rows, int64_t columns, int64_t stride, const Context& context) {
  constexpr int64_t kElements = 1 << 17;
  if (rows == 0 || columns == 0) return -1;
  std::atomic<int64_t> first{rows * columns};
  const auto scan = [&](const float* values, int64_t count, int64_t position) {
    if (gram_simd().all_finite(values, count)) return;
    while (std::isfinite(*values)) {
      ++values;
      ++position;
    }
    int64_t seen = first.load();
    while (position < seen && !first.compare_exchange_weak(seen, position)) {
    }
  };
  const int64_t block = std::max<int64_t>(1, kElements / columns);
  const bool done = parallel_for(divide_up(rows, block), context, [&](int64_t tile) {
    const int64_t from = tile * block, to = std::min(rows, from + block);
    if (stride == columns) return scan(x + from * columns, (to - from) * columns, from * columns);
    for (int64_t row = from; row < to; ++row) scan(x + row * stride, columns, row * columns);
  });
  if (!done) return -2;
  return first < rows * columns ? first.load() : -1;
}
}  // namespace osc
