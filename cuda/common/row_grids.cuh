// The grids of the rows of a matrix, one a row and group of columns, and the codes on them. A warp each.
#pragma once
#include "common/gpu.cuh"
#include "kernels/checks.h"
#include "common/rounding.cuh"

namespace osc {
namespace {

constexpr int kGridWarps = 4;  // of a block

struct RowGrids {
  const float* weight;  // [rows, columns], row stride `stride`
  int64_t stride, rows, columns;
  int64_t group_size, groups;
  const uint8_t* dead;  // [columns] or null: columns that count as zero
  float* scales;        // [groups, rows]
  uint8_t* zeros;
  uint8_t* codes;       // [rows, columns] or null
};

// Lane l of a warp has columns l, l + 32, ... of the group. Values of dead columns are zero, which every grid contains.
OSC_GLOBAL make_row_grids(RowGrids work, GridSpec spec) {
  constexpr unsigned kAll = 0xFFFFFFFFU;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kGridWarps + threadIdx.y;
  const int lane = static_cast<int>(threadIdx.x);
  if (index >= work.rows * work.groups) return;
  const int64_t row = index / work.groups, group = index % work.groups, from = group * work.group_size;
  const int64_t count = min(work.group_size, work.columns - from);
  const float* values = work.weight + row * work.stride + from;
  const uint8_t* dead = work.dead ? work.dead + from : nullptr;
  const auto value = [&](int64_t j) { return dead && dead[j] ? 0.0F : values[j]; };

  float low = 0, high = 0;
  for (int64_t j = lane; j < count; j += kWarp) {
    low = smaller(value(j), low);
    high = larger(value(j), high);
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    low = smaller(low, __shfl_xor_sync(kAll, low, step));
    high = larger(high, __shfl_xor_sync(kAll, high, step));
  }
  Grid grid = make_grid(spec, static_cast<double>(low), static_cast<double>(high));
  if (spec.mse) {
    // A lane takes whole steps, so that sums have the CPU's order.
    Candidate best = search_range(spec, low, high, count, value, lane, kWarp);
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const float cost = __shfl_xor_sync(kAll, best.cost, step);
      const int other = __shfl_xor_sync(kAll, best.step, step);
      best = cheaper(best, {cost, other});
    }
    grid = shrunk_grid(spec, static_cast<double>(low), static_cast<double>(high), best.step);
  }
  if (lane == 0) {
    work.scales[group * work.rows + row] = grid.scale;
    work.zeros[group * work.rows + row] = static_cast<uint8_t>(grid.zero);
  }
  if (!work.codes) return;
  uint8_t* codes = work.codes + row * work.columns + from;
  for (int64_t j = lane; j < count; j += kWarp) {
    codes[j] = static_cast<uint8_t>(code_of(value(j), grid.scale, grid.zero, spec.maxq()));
  }
}

// `work` has one row and one column or more.
inline Status row_grids(const RowGrids& work, const GridSpec& spec) {
  const int64_t blocks = blocks_for(work.rows * work.groups, kGridWarps);
  return launch(make_row_grids, dim3(static_cast<unsigned>(blocks)), dim3(kWarp, kGridWarps), 0, work, spec);
}

}  // namespace
}  // namespace osc
