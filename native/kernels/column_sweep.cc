#include "column_sweep.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace osc {
namespace {

constexpr int64_t kDepth = 96;  // columns fed at a time: what they hold of a strip leaves room in the first-level cache

// Rows of a tile, a multiple of kStrip that depends on the number of rows alone: tiles of equal size, an even number of them.
int64_t tile_rows(int64_t rows) {
  const int64_t tiles = std::max<int64_t>(2, (rows + 1023) / 1024 * 2);
  return ((rows + tiles - 1) / tiles + kStrip - 1) / kStrip * kStrip;
}

bool matrix_of(const Tensor& t, int32_t dtype, int64_t rows, int64_t columns) {
  return t.rank == 2 && t.dtype == dtype && t.shape[0] == rows && t.shape[1] == columns && (columns <= 1 || t.strides[1] == 1);
}

int64_t whole(int64_t size, int64_t unit) { return size >= unit ? size / unit * unit : unit; }

}  // namespace

Status SweepPlan::check(const SweepRequest& r) {
  if (r.weight.rank != 2) return fail(OSC_ARGUMENT, 0, "weight must be [out, in]");
  const int64_t rows = r.weight.shape[0], columns = r.weight.shape[1];
  if (!matrix_of(r.weight, OSC_FLOAT32, rows, columns)) {
    return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  }
  if (size_of(r.order) != columns || size_of(r.dead) != columns || size_of(r.diagonal) != columns ||
      !matrix_of(r.factor, OSC_FLOAT32, columns, columns)) {
    return fail(OSC_ARGUMENT, 0, "the factor is not of this layer's width");
  }
  if (r.bits < 0 || r.bits > 8 || r.group_size == 0) return fail(OSC_ARGUMENT, 0, "bits or group_size out of range");
  if (r.m < 0 || r.n < 0 || r.n > r.m || r.m > std::numeric_limits<int32_t>::max()) return fail(OSC_ARGUMENT, 0, "n or m out of range");
  if (r.held.data && !matrix_of(r.held, OSC_BOOL, rows, columns)) return fail(OSC_ARGUMENT, 0, "held must be bool [out, in] with contiguous rows");
  if (r.correction.data && !matrix_of(r.correction, OSC_FLOAT32, columns, columns)) {
    return fail(OSC_ARGUMENT, 0, "correction must be float32 [in, in] with contiguous rows");
  }
  return ok();
}

SweepPlan::SweepPlan(const SweepRequest& r)
    : request(r),
      spec{r.bits, r.sym != 0, r.mse != 0, r.float16_scales != 0},
      groups(r.group_size, r.weight.shape[1]),
      rows(r.weight.shape[0]),
      columns(r.weight.shape[1]),
      rows_per_tile(tile_rows(r.weight.shape[0])),
      dynamic(r.bits > 0 && groups.count > 1 && !r.static_groups),
      block(std::clamp<int64_t>(r.block_size, 1, std::max<int64_t>(columns, 1))),
      grid_of(static_cast<size_t>(columns)),
      step_of(static_cast<size_t>(columns)),
      column_group(static_cast<size_t>(columns)) {
  // Blocks start at group starts, so that every update has arrived when a grid is taken or a group is pruned.
  if (dynamic) block = groups.size >= block ? groups.size : block / groups.size * groups.size;
  if (r.m > 0) block = r.m >= columns ? std::max<int64_t>(columns, 1) : whole(block, r.m);
  span = std::max<int64_t>(1, 256 / block) * block;
  const int32_t* order = data<int32_t>(r.order);
  for (int64_t t = 0; t < columns; ++t) {
    const int64_t grid = (dynamic ? t : order[t]) / groups.size;
    grid_of[static_cast<size_t>(t)] = static_cast<int32_t>(grid);
    step_of[static_cast<size_t>(order[t])] = static_cast<int32_t>(t);
    column_group[static_cast<size_t>(order[t])] = static_cast<int32_t>(grid);
  }
  if (!r.prunes) return;
  const double* diagonal = data<double>(r.diagonal);
  double largest = 0;
  for (int64_t t = 0; t < columns; ++t) largest = std::max(largest, diagonal[t]);
  for (int64_t t = 0; t < columns; ++t) score_weight.push_back(static_cast<float>(diagonal[t] / largest));
}

int64_t SweepPlan::tile_bytes() const {
  const int64_t floats = columns * (request.correction.data ? 2 : 1), bytes = (request.bits > 0) + request.prunes;
  return rows_per_tile * (4 * floats + bytes * columns);
}

SweepTile::SweepTile(const SweepPlan& plan, int64_t index)
    : plan_(&plan),
      first_(index * plan.rows_per_tile),
      live_(std::min(plan.rows_per_tile, plan.rows - first_)),
      rows_((live_ + kStrip - 1) / kStrip * kStrip),
      weight_(plan.columns * rows_),
      seen_(plan.request.correction.data ? plan.columns * rows_ : 0),
      codes_(plan.request.bits > 0 ? plan.columns * rows_ : 0),
      mask_(plan.request.prunes ? plan.columns * rows_ : 0),
      held_(plan.request.held.data ? plan.columns * rows_ : 0),
      pending_(plan.span * rows_),
      scores_(plan.request.prunes ? plan.block * rows_ : 0),
      factor_(plan.block * factor_stride()),
      correction_(plan.request.correction.data ? plan.block * factor_stride() : 0),
      scratch_(3 * plan.block * kStrip),
      scales_(plan.groups.count * rows_),
      zeros_(plan.groups.count * rows_),
      loss_(static_cast<size_t>(rows_)),
      prune_loss_(static_cast<size_t>(rows_)) {}

bool SweepTile::allocated() const {
  return weight_ && seen_ && codes_ && mask_ && held_ && pending_ && scores_ && factor_ && correction_ && scratch_ && scales_ &&
         zeros_;
}

void SweepTile::load() {
  const SweepRequest& r = plan_->request;
  const uint8_t* dead = data<uint8_t>(r.dead);
  const int64_t ldw = r.weight.strides[0], columns = plan_->columns;
  const float* w = data<float>(r.weight) + first_ * ldw;
  for (int64_t s = 0; s < rows_; s += kStrip) {
    simd().load_strip(w + s * ldw, ldw, std::min(kStrip, live_ - s), columns, plan_->step_of.data(),
                      weight_.get() + at(s, 0));
    for (int64_t j = 0; j < columns; ++j) {
      if (dead[j]) std::fill_n(weight_.get() + at(s, plan_->step_of[static_cast<size_t>(j)]), kStrip, 0.0F);
    }
  }
  if (!r.held.data) return;
  for (int64_t i = 0; i < rows_; ++i) {
    const uint8_t* row = i < live_ ? data<uint8_t>(r.held) + (first_ + i) * r.held.strides[0] : nullptr;
    for (int64_t j = 0; j < columns; ++j) held_[at(i, plan_->step_of[static_cast<size_t>(j)])] = row ? row[j] : 1;
  }
}

void SweepTile::static_grids() {
  if (plan_->request.bits == 0 || plan_->dynamic) return;
  const int64_t columns = plan_->columns, size = plan_->groups.size;
  std::vector<float> values(static_cast<size_t>(size * kStrip));
  for (int64_t s = 0; s < rows_; s += kStrip) {
    for (int64_t g = 0; g < plan_->groups.count; ++g) {
      const int64_t from = g * size, to = std::min(from + size, columns);
      for (int64_t j = from; j < to; ++j) {
        std::memcpy(values.data() + (j - from) * kStrip, weight_.get() + at(s, plan_->step_of[static_cast<size_t>(j)]),
                    kStrip * sizeof(float));
      }
      simd().strip_grid(plan_->spec, values.data(), to - from, kStrip, scales_.get() + g * rows_ + s,
                        zeros_.get() + g * rows_ + s);
    }
  }
}

// pending of columns [from, to) += what columns [first, last) of `source` add by the factor.
void SweepTile::feed(const Tensor& factor, const Buffer<float>& source, int64_t first, int64_t last, int64_t from, int64_t to) {
  const int64_t ld = factor.strides[0];
  for (int64_t k = first; k < last; k += kDepth) {  // all strips read the same part of the factor from the cache
    const float* part = data<float>(factor) + k * ld + from;
    for (int64_t s = 0; s < rows_; s += kStrip) {
      simd().feed(source.get() + at(s, k), part, ld, std::min(kDepth, last - k), to - from, pending(s, from));
    }
  }
}

void SweepTile::copy_block(const Tensor& factor, int64_t from, int64_t width, float* target) const {
  const int64_t ld = factor.strides[0];
  for (int64_t i = 0; i < width; ++i) {
    std::memcpy(target + i * factor_stride(), data<float>(factor) + (from + i) * ld + from, static_cast<size_t>(width) * sizeof(float));
  }
}

void SweepTile::gather(int64_t from, int64_t to) {
  const SweepRequest& r = plan_->request;
  const bool corrected = r.correction.data != nullptr;
  // At the start of a span all earlier columns feed the whole span at once (wide products run faster), then each block gets
  // what the earlier blocks of its span add.
  const int64_t start = from / plan_->span * plan_->span, end = std::min(start + plan_->span, plan_->columns);
  const auto add = [&](int64_t first, int64_t last, int64_t until) {
    feed(r.factor, weight_, first, last, from, until);
    if (corrected) feed(r.correction, seen_, first, last, from, until);
  };
  if (from == start) {
    std::fill_n(pending_.get(), plan_->span * rows_, 0.0F);
    add(0, start, end);
  } else {
    add(start, from, to);
  }
  copy_block(r.factor, from, to - from, factor_.get());
  if (corrected) copy_block(r.correction, from, to - from, correction_.get());
}

ColumnBlock SweepTile::block_of(int64_t from, int64_t to, int64_t s, float threshold) const {
  const SweepRequest& r = plan_->request;
  const bool corrected = r.correction.data != nullptr;
  return ColumnBlock{
      .width = to - from,
      .weight = weight_.get() + at(s, from),
      .pending = pending(s, from),
      .factor = factor_.get(),
      .factor_stride = factor_stride(),
      .diagonal = data<double>(r.diagonal) + from,
      .codes = r.bits > 0 ? codes_.get() + at(s, from) : nullptr,
      .grid_of = plan_->grid_of.data() + from,
      .scales = scales_.get() + s,
      .zeros = zeros_.get() + s,
      .grid_stride = rows_,
      .dynamic_group = plan_->dynamic ? plan_->groups.size : 0,
      .correction = corrected ? correction_.get() : nullptr,
      .seen = corrected ? seen_.get() + at(s, from) : nullptr,
      .mask = r.prunes ? mask_.get() + at(s, from) : nullptr,
      .scores = scores_.get() + at(s, 0, to - from),
      .threshold = threshold,
      .score_weight = r.prunes ? plan_->score_weight.data() + from : nullptr,
      .held = r.held.data ? held_.get() + at(s, from) : nullptr,
      .pattern_n = r.n,
      .pattern_m = r.m,
      .scratch = scratch_.get(),
      .loss = const_cast<double*>(loss_.data()) + s,
      .prune_loss = const_cast<double*>(prune_loss_.data()) + s,
  };
}

float* SweepTile::scores(int64_t from, int64_t to) {
  for (int64_t s = 0; s < rows_; s += kStrip) simd().block_scores(block_of(from, to, s, 0));
  for (int64_t j = 0; j < to - from; ++j) {
    for (int64_t r = live_; r < rows_; ++r) scores_[at(r, j, to - from)] = std::numeric_limits<float>::infinity();
  }
  return scores_.get();
}

void SweepTile::sweep(int64_t from, int64_t to, float threshold) {
  for (int64_t s = 0; s < rows_; s += kStrip) simd().sweep_block(plan_->spec, block_of(from, to, s, threshold));
}

// target[row][column] = get(position, step, row), position being at(row, step), for all live rows, in cuts that stay in the
// cache.
template <class T, class Get>
void SweepTile::transpose_back(T* target, Get get) const {
  constexpr int64_t kCut = kStrip;
  const int64_t columns = plan_->columns;
  const int32_t* order = data<int32_t>(plan_->request.order);
  const bool in_order = std::is_sorted(order, order + columns);
  for (int64_t r0 = 0; r0 < live_; r0 += kCut) {
    const int64_t rows = std::min(kCut, live_ - r0);
    for (int64_t t0 = 0; t0 < columns; t0 += kCut) {
      const int64_t steps = std::min(kCut, columns - t0);
      T cut[kCut][kCut];
      for (int64_t t = 0; t < steps; ++t) {
        const int64_t position = at(r0, t0 + t);
        for (int64_t r = 0; r < rows; ++r) cut[r][t] = get(position + r, t0 + t, r0 + r);
      }
      for (int64_t r = 0; r < rows; ++r) {
        T* row = target + (first_ + r0 + r) * columns;
        if (in_order) {
          std::memcpy(row + t0, cut[r], static_cast<size_t>(steps) * sizeof(T));
        } else {
          for (int64_t t = 0; t < steps; ++t) row[order[t0 + t]] = cut[r][t];
        }
      }
    }
  }
}

void SweepTile::store_codes(const Tensor& codes, const Tensor& scales, const Tensor& zeros) const {
  const uint8_t* from = codes_.get();
  transpose_back(data<uint8_t>(codes), [&](int64_t position, int64_t, int64_t) { return from[position]; });
  for (int64_t g = 0; g < plan_->groups.count; ++g) {
    float* scale = data<float>(scales) + g * plan_->rows + first_;
    uint8_t* zero = data<uint8_t>(zeros) + g * plan_->rows + first_;
    for (int64_t r = 0; r < live_; ++r) {
      scale[r] = scales_[g * rows_ + r];
      zero[r] = static_cast<uint8_t>(zeros_[g * rows_ + r]);
    }
  }
}

void SweepTile::store_weight(const Tensor& weight, const Tensor& mask) const {
  const SweepRequest& r = plan_->request;
  const uint8_t* kept = mask_.get();
  transpose_back(data<uint8_t>(mask), [&](int64_t position, int64_t, int64_t) { return kept[position]; });
  float* out = data<float>(weight);
  if (r.bits > 0) {
    transpose_back(out, [&](int64_t position, int64_t step, int64_t row) {
      const int64_t grid = plan_->grid_of[static_cast<size_t>(step)] * rows_ + row;
      return scales_[grid] * (static_cast<float>(codes_[position]) - zeros_[grid]);
    });
    return;
  }
  transpose_back(out, [&](int64_t position, int64_t, int64_t) { return weight_[position]; });
  const uint8_t* dead = data<uint8_t>(r.dead);
  for (int64_t i = first_; i < first_ + live_; ++i) {  // Q = W - E; a pruned column has E = W
    const float* before = data<float>(r.weight) + i * r.weight.strides[0];
    float* after = out + i * plan_->columns;
    for (int64_t j = 0; j < plan_->columns; ++j) after[j] = dead[j] ? 0.0F : before[j] - after[j];
  }
}

double SweepTile::sum(const std::vector<double>& of_row) const {
  double total = 0;
  for (int64_t r = 0; r < live_; ++r) total += of_row[static_cast<size_t>(r)];
  return total;
}

}  // namespace osc
