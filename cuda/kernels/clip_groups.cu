// This work is based on: J. Lin et al., "AWQ", 2023, as on the CPU. For each of the ranges tried the errors of all groups go
// through one product with their blocks of the Gram matrix.
#include <algorithm>

#include "common/blas.h"
#include "common/flat.cuh"
#include "common/reduce.cuh"
#include "common/rounding.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

constexpr int kShrinks = 10;   // the ranges tried: 1, 0.95, ... 0.55 of the largest weight
constexpr int kClipWarps = 4;  // of a block
constexpr int64_t kTileNumbers = int64_t{1} << 24;  // errors in flight

// A tile of rows; a warp has a row and a group.
struct Tile {
  GridSpec spec;
  const float* weight;
  int64_t stride, rows, columns, group_size, groups;
  float *widest, *limit;  // [rows, groups]
  double* least;
};

struct Place {
  int64_t row, group, from, count;
  int lane;
};

// False for a warp without work.
__device__ inline bool place_of(const Tile& tile, Place* place) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kClipWarps + threadIdx.y;
  if (index >= tile.rows * tile.groups) return false;
  const int64_t group = index % tile.groups, from = group * tile.group_size;
  *place = {index / tile.groups, group, from, min(tile.group_size, tile.columns - from), static_cast<int>(threadIdx.x)};
  return true;
}

__device__ inline float clipped_to(float w, float bound) { return fminf(fmaxf(w, -bound), bound); }

OSC_GLOBAL find_widest(Tile tile) {
  Place at;
  if (!place_of(tile, &at)) return;
  const float* weight = tile.weight + at.row * tile.stride + at.from;
  float widest = 0;
  for (int64_t j = at.lane; j < at.count; j += kWarp) widest = larger(widest, fabsf(weight[j]));
  widest = warp_max(widest);
  if (at.lane != 0) return;
  tile.widest[at.row * tile.groups + at.group] = widest;
  tile.limit[at.row * tile.groups + at.group] = widest;
}

// errors [rows, columns] of rounding the weights clipped to step `step`.
template <class Real>
OSC_GLOBAL round_clipped(Tile tile, int step, Real* errors) {
  Place at;
  if (!place_of(tile, &at)) return;
  const float* weight = tile.weight + at.row * tile.stride + at.from;
  const float bound = tile.widest[at.row * tile.groups + at.group] * (1.0F - static_cast<float>(step) / 20.0F);
  float low = 0, high = 0;
  for (int64_t j = at.lane; j < at.count; j += kWarp) {
    const float w = clipped_to(weight[j], bound);
    low = smaller(w, low);
    high = larger(w, high);
  }
  low = -warp_max(-low);
  high = warp_max(high);
  const Grid grid = make_grid(tile.spec, static_cast<double>(low), static_cast<double>(high));
  Real* error = errors + at.row * tile.columns + at.from;
  for (int64_t j = at.lane; j < at.count; j += kWarp) {
    const float code = code_of(clipped_to(weight[j], bound), grid.scale, grid.zero, tile.spec.maxq());
    error[j] = static_cast<Real>(weight[j] - grid.scale * (code - grid.zero));
  }
}

// Keeps the step when it loses less than those before it.
template <class Real>
OSC_GLOBAL keep_better(Tile tile, int step, const Real* errors, const Real* products) {
  Place at;
  if (!place_of(tile, &at)) return;
  const int64_t first = at.row * tile.columns + at.from, index = at.row * tile.groups + at.group;
  double lost = 0;
  for (int64_t j = at.lane; j < at.count; j += kWarp) {
    lost += static_cast<double>(products[first + j]) * static_cast<double>(errors[first + j]);
  }
  lost = warp_sum(lost);
  if (at.lane != 0 || (step > 0 && !(lost < tile.least[index]))) return;
  tile.least[index] = lost;
  tile.limit[index] = tile.widest[index] * (1.0F - static_cast<float>(step) / 20.0F);
}

struct Clip {
  Tile tile;
  float* clipped;
  __device__ void operator()(int64_t at) const {
    const int64_t row = at / tile.columns, column = at % tile.columns;
    clipped[at] = clipped_to(tile.weight[row * tile.stride + column], tile.limit[row * tile.groups + column / tile.group_size]);
  }
};

// products [rows, columns]: the errors of each group times its block of the Gram matrix; a last, shorter group for itself.
template <class Real>
Status multiply_groups(const Tile& tile, const Real* errors, const Real* gram, int64_t ldh, Real* products) {
  const int64_t size = tile.group_size, whole = tile.columns / size, rest = tile.columns % size, n = tile.columns;
  if (whole > 0) {
    OSC_TRY(gemm_batched(Transpose::kNo, Transpose::kNo, tile.rows, size, size, 1, errors, n, size, gram, ldh, size * (ldh + 1), 0,
                         products, n, size, whole));
  }
  if (rest == 0) return ok();
  const int64_t from = whole * size;
  return gemm(Transpose::kNo, Transpose::kNo, tile.rows, rest, rest, 1, errors + from, n, gram + from * (ldh + 1), ldh, 0,
              products + from, n);
}

template <class Real>
Status clip(const ClipGroupsArgs& args, const Context& context) {
  const int64_t rows = args.weight.shape[0], columns = args.weight.shape[1], stride = args.weight.strides[0];
  const Groups groups(args.group_size, columns);
  const int64_t height = std::min(rows, std::max<int64_t>(1, kTileNumbers / columns)), grids = height * groups.count;
  DeviceBuffer<Real> errors(height * columns), products(height * columns);
  DeviceBuffer<float> bounds(2 * grids);
  DeviceBuffer<double> least(grids);
  if (!errors) return errors.status();
  if (!products) return products.status();
  if (!bounds) return bounds.status();
  if (!least) return least.status();
  const GridSpec spec{args.bits, args.sym != 0, false, args.float16_scales != 0};
  for (int64_t first = 0; first < rows; first += height) {
    const Tile tile{spec,       data<const float>(args.weight) + first * stride,
                    stride,     std::min(height, rows - first),
                    columns,    groups.size,
                    groups.count, bounds.get(),
                    bounds.get() + grids, least.get()};
    const dim3 grid(static_cast<unsigned>(blocks_for(tile.rows * tile.groups, kClipWarps))), block(kWarp, kClipWarps);
    OSC_TRY(launch(find_widest, grid, block, 0, tile));
    for (int step = 0; step < kShrinks; ++step) {
      if (cancelled(context)) return aborted();
      OSC_TRY(launch(round_clipped<Real>, grid, block, 0, tile, step, errors.get()));
      OSC_TRY(multiply_groups(tile, errors.get(), data<const Real>(args.gram), args.gram.strides[0], products.get()));
      OSC_TRY(launch(keep_better<Real>, grid, block, 0, tile, step, errors.get(), products.get()));
    }
    OSC_TRY(launch_each(Clip{tile, data<float>(args.clipped) + first * columns}, tile.rows * columns));
  }
  return ok();
}

}  // namespace

Status clip_groups(ClipGroupsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  if (size_of(args.weight) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? clip<double>(args, context) : clip<float>(args, context);
}

}  // namespace osc
