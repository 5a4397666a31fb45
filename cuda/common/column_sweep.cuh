// The column recursion of gptq_quantize_columns for one block of columns. Rows are independent: a thread has a row, and
// matrices are stored column by column, so that threads side by side read memory side by side. A thread keeps 16 columns
// (a panel) in registers; the rest of the block is in global memory, that is in the first-level cache; the factor passes
// through shared memory, 16 x 128 of it at a time. So a block, and with it a group, may have any width.
// Sums run over the columns in the CPU's order (native/simd/simd_body.inc).
#pragma once
#include "common/gpu.cuh"
#include "common/rounding.cuh"

namespace osc {
namespace {

constexpr int kSweepRows = 64;   // of a block of threads
constexpr int kSearchers = 8;    // threads a row that share a range search
constexpr int kSweepPanel = 16;  // columns in registers; more of them spill
constexpr int kSweepTile = 128;  // columns of the factor in shared memory

// What a block of threads works on; columns in processing order.
struct Sweep {
  GridSpec spec;
  int64_t rows;
  int64_t from, width;      // the block
  int64_t group;            // > 0: a grid is made at every multiple of it from the current weights
  const float* factor;      // N_ij, row stride factor_stride
  int64_t factor_stride;
  const double* diagonal;   // [columns] R_jj
  const int32_t* grid_of;   // [columns]
  float* weight;            // [columns, rows] W, replaced by E = W - Q
  float* current;           // [., rows] sum over earlier blocks of E_i N_ij; becomes the current weights of the block
  float* solved;            // [width, rows] the weights a group has now; null without dynamic groups
  uint8_t* codes;           // [columns, rows]
  float* scales;            // [grids, rows]
  uint8_t* zeros;
  double* loss;             // [rows] added to
};

// What a panel has in shared memory: its rows of the factor, and a column of numbers for each row of the block.
struct SweepTile {
  float4 (*factor)[kSweepTile / 4];
  float* loss_weight;  // [kSweepPanel]
  float (*weight)[kSweepRows];
  float (*scale)[kSweepRows];
  float (*zero)[kSweepRows];
  __device__ float at(int i, int j) const { return reinterpret_cast<const float*>(factor[i])[j]; }
};

// Rows panel .. panel + length of the factor, columns first .. limit of the block; zeros around them. All threads.
__device__ inline void load_tile(const Sweep& work, const SweepTile& tile, int64_t panel, int length, int64_t first,
                                 int64_t limit) {
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y);
  const float* source = work.factor + (work.from + panel) * work.factor_stride + work.from + first;
  __syncthreads();  // nobody reads the tile before it any more
  for (int k = thread; k < kSweepPanel * kSweepTile; k += threads) {
    const int i = k / kSweepTile, j = k % kSweepTile;
    const bool inside = i < length && first + j < limit;
    cp_async4(reinterpret_cast<float*>(tile.factor[i]) + j, inside ? source + i * work.factor_stride + j : work.factor,
              inside ? 4 : 0);
  }
  cp_commit();
  if (first == panel) {
    for (int j = thread; j < length; j += threads) {
      const double r = work.diagonal[work.from + panel + j];
      tile.loss_weight[j] = static_cast<float>(r * r * 0.5);
    }
  }
  cp_wait<0>();
  __syncthreads();
}

// target[j] += sum over the panel of error_i N_ij, for columns j from first + begin to limit. A row of its own a thread.
__device__ inline void update_columns(const Sweep& work, const SweepTile& tile, const float (&error)[kSweepPanel],
                                      float* target, int64_t first, int begin, int64_t limit) {
  const int end = static_cast<int>(min(limit - first, int64_t{kSweepTile}));
  for (int j = begin / 4 * 4; j < end; j += 4) {
    float sum[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < kSweepPanel; ++i) {
      const float4 n = tile.factor[i][j / 4];
      sum[0] = fmaf(error[i], n.x, sum[0]);
      sum[1] = fmaf(error[i], n.y, sum[1]);
      sum[2] = fmaf(error[i], n.z, sum[2]);
      sum[3] = fmaf(error[i], n.w, sum[3]);
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      if (j + u >= begin && j + u < end) target[(first + j + u) * work.rows] += sum[u];
    }
  }
}

// The columns of a panel one after the other, in registers. `weight`, `current`, `codes`, `scales` and `zeros` point to this
// row. With kRound each column is rounded, its code stored and its error fed to the columns after it; without, the error is
// that of keeping the weight a column has now, which is what the columns of a group have before any of them is rounded:
// W + D with D (I + N) = C - W, C - W in `current` before, W + D after.
template <bool kRound>
__device__ void sweep_panel(const Sweep& work, const SweepTile& tile, int64_t panel, int length, float* weight,
                            float* current, uint8_t* codes, const float* scales, const uint8_t* zeros,
                            float (&error)[kSweepPanel], float& loss) {
  const int lane = static_cast<int>(threadIdx.x);
  const float maxq = work.spec.maxq();
  weight += panel * work.rows;
  current += panel * work.rows;
  codes += panel * work.rows;
#pragma unroll
  for (int j = 0; j < kSweepPanel; ++j) error[j] = j < length ? current[j * work.rows] : 0.0F;
  for (int j = 0; j < length; ++j) {
    tile.weight[j][lane] = weight[j * work.rows];
    if constexpr (kRound) {
      const int64_t at = static_cast<int64_t>(work.grid_of[work.from + panel + j]) * work.rows;
      tile.scale[j][lane] = scales[at];
      tile.zero[j][lane] = static_cast<float>(zeros[at]);
    }
  }
#pragma unroll
  for (int j = 0; j < kSweepPanel; ++j) {
    if (j < length) {
      if constexpr (kRound) {
        const float scale = tile.scale[j][lane], zero = tile.zero[j][lane];
        const float code = code_of(error[j], scale, zero, maxq);
        const float q = scale * (code - zero), d = error[j] - q;
        loss = fmaf(d * d, tile.loss_weight[j], loss);
        error[j] = tile.weight[j][lane] - q;
        codes[j * work.rows] = static_cast<uint8_t>(code);
      } else {
        error[j] = -error[j];
      }
#pragma unroll
      for (int k = j + 1; k < kSweepPanel; ++k) error[k] = fmaf(error[j], tile.at(j, k), error[k]);
    }
  }
#pragma unroll
  for (int j = 0; j < kSweepPanel; ++j) {
    if (j >= length) {
      error[j] = 0;
    } else if constexpr (kRound) {
      weight[j * work.rows] = error[j];
    } else {
      current[j * work.rows] = tile.weight[j][lane] - error[j];
    }
  }
}

// Columns from .. end of the block in panels; each feeds the columns after it up to `limit`. All threads; `row` < 0: this
// thread has none and only helps to load the factor. Returns the loss.
template <bool kRound>
__device__ double sweep_columns(const Sweep& work, const SweepTile& tile, int64_t row, float* current, int64_t from,
                                int64_t end, int64_t limit) {
  double total = 0;
  for (int64_t panel = from; panel < end; panel += kSweepPanel) {
    const int length = static_cast<int>(min(end - panel, int64_t{kSweepPanel}));
    float error[kSweepPanel], loss = 0;
    for (int64_t first = panel; first < limit; first += kSweepTile) {
      load_tile(work, tile, panel, length, first, limit);
      if (row < 0) continue;
      if (first == panel) {
        sweep_panel<kRound>(work, tile, panel, length, work.weight + work.from * work.rows + row, current + row,
                            work.codes + work.from * work.rows + row, work.scales + row, work.zeros + row, error, loss);
      }
      update_columns(work, tile, error, current + row, first, first == panel ? length : 0, limit);
    }
    total += static_cast<double>(loss);
  }
  return total;
}

// The grid of a group's columns from .. end, from `solved`. All threads: those of a row share the range search.
__device__ inline void make_group_grid(const Sweep& work, int64_t row, bool owner, int64_t from, int64_t end) {
  OSC_SHARED(float, costs, [kSearchers][kSweepRows]);
  OSC_SHARED(int, steps, [kSearchers][kSweepRows]);
  const int lane = static_cast<int>(threadIdx.x), searcher = static_cast<int>(threadIdx.y);
  const auto value = [&](int64_t j) { return work.solved[(from + j) * work.rows + row]; };
  float low = 0, high = 0;
  __syncthreads();  // `solved` was written by the owners of the rows
  if (row >= 0) {
    for (int64_t j = 0; j < end - from; ++j) {
      low = smaller(value(j), low);
      high = larger(value(j), high);
    }
    if (work.spec.mse) {
      const Candidate best = search_range(work.spec, low, high, end - from, value, searcher, static_cast<int>(blockDim.y));
      costs[searcher][lane] = best.cost;
      steps[searcher][lane] = best.step;
    }
  }
  __syncthreads();
  if (!owner) return;
  int step = 0;
  if (work.spec.mse) {
    Candidate best{costs[0][lane], steps[0][lane]};
    for (int s = 1; s < static_cast<int>(blockDim.y); ++s) best = cheaper(best, {costs[s][lane], steps[s][lane]});
    step = best.step;
  }
  const Grid grid = shrunk_grid(work.spec, static_cast<double>(low), static_cast<double>(high), step);
  const int64_t at = static_cast<int64_t>(work.grid_of[work.from + from]) * work.rows + row;
  work.scales[at] = grid.scale;
  work.zeros[at] = static_cast<uint8_t>(grid.zero);
}

OSC_GLOBAL __launch_bounds__(kSweepRows * kSearchers) quantize_block(Sweep work) {
  OSC_SHARED(float4, factor, [kSweepPanel][kSweepTile / 4]);
  OSC_SHARED(float, loss_weight, [kSweepPanel]);
  OSC_SHARED(float, weight, [kSweepPanel][kSweepRows]);
  OSC_SHARED(float, scale, [kSweepPanel][kSweepRows]);
  OSC_SHARED(float, zero, [kSweepPanel][kSweepRows]);
  const SweepTile tile{factor, loss_weight, weight, scale, zero};
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kSweepRows + threadIdx.x;
  const int64_t row = index < work.rows ? index : -1;
  const bool owner = row >= 0 && threadIdx.y == 0;
  if (owner) {
    for (int64_t c = 0; c < work.width; ++c) {
      float* current = work.current + c * work.rows + row;
      const float weight = work.weight[(work.from + c) * work.rows + row];
      *current = work.from > 0 ? weight + *current : weight;
    }
  }
  const int64_t mine = owner ? row : -1;
  double loss = 0;
  for (int64_t from = 0; from < work.width;) {
    const int64_t end = work.group > 0 ? min(work.width, from + work.group) : work.width;
    if (work.group > 0) {
      for (int64_t c = from; owner && c < end; ++c) {
        const int64_t at = c * work.rows + row;
        work.solved[at] = work.current[at] - work.weight[work.from * work.rows + at];
      }
      sweep_columns<false>(work, tile, mine, work.solved, from, end, end);
      make_group_grid(work, row, owner, from, end);
    }
    loss += sweep_columns<true>(work, tile, mine, work.current, from, end, work.width);
    from = end;
  }
  if (owner) work.loss[row] += loss;
}

}  // namespace
}  // namespace osc
