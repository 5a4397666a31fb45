// The column recursion that GPTQ, GPTAQ and SparseGPT share (native/kernels/column_sweep.h) for one block of columns. Rows are
// independent: a thread has a row, and matrices are stored column by column, so that threads side by side read memory side by
// side. A thread keeps 16 columns (a panel) in registers; the rest of the block is in global memory, that is in the
// first-level cache; the factor passes through shared memory, 16 x 128 of it at a time. So a block, and with it a group, may
// have any width. Sums run over the columns in the CPU's order (native/simd/simd_body.inc).
#pragma once
#include "common/gpu.cuh"
#include "common/rounding.cuh"

namespace osc {
namespace {

constexpr int kSweepRows = 64;   // of a block of threads
constexpr int kSearchers = 8;    // threads a row, at most, that share a range search
constexpr int kSweepPanel = 16;  // columns in registers; more of them spill
constexpr int kSweepTile = 128;  // columns of the factor in shared memory

// What happens to a column when its turn comes. kSolve: nothing, its error is that of keeping the weight it has now. Otherwise
// quantize: a code of its grid; prune: zero where its mark says so; correct: GPTAQ's second matrix feeds the columns after it.
enum class Turn { kSolve, kQuantize, kCorrect, kPrune, kPruneQuantize };
constexpr bool quantizes(Turn turn) { return turn == Turn::kQuantize || turn == Turn::kCorrect || turn == Turn::kPruneQuantize; }
// Threads a row: two matrices at a time need the registers of twice as many.
constexpr int searchers_of(Turn turn) { return turn == Turn::kCorrect ? kSearchers / 2 : kSearchers; }
constexpr bool prunes(Turn turn) { return turn == Turn::kPrune || turn == Turn::kPruneQuantize; }

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
  float* solved;            // [width, rows] the weights a group has now; null when nobody asks
  uint8_t* codes;           // [columns, rows]
  float* scales;            // [grids, rows]
  uint8_t* zeros;
  double* loss;             // [rows] added to
  // GPTAQ: M_ij, and the columns as they were when their turn came, [columns, rows].
  const float* correction;
  int64_t correction_stride;
  float* seen;
  // Pruning: marks [width, rows], pruned where at most `threshold`; the scores they come from, |w| score_weight, -1 where held
  // is 0; n of every m columns when m > 0.
  float* marks;
  float threshold;
  const float* score_weight;  // [columns] R_jj / max R
  const uint8_t* held;        // [columns, rows] or null
  int64_t n, m;
  uint8_t* mask;              // [columns, rows]
  double* prune_loss;         // [rows] added to: the part of the pruned weights
};

// What a panel has in shared memory: its rows of the factor, and a column of numbers for each row of the block.
struct SweepTile {
  float4 (*factor)[kSweepTile / 4];
  float4 (*correction)[kSweepTile / 4];  // or null
  float* loss_weight;  // [kSweepPanel]
  float (*weight)[kSweepRows];
  float (*scale)[kSweepRows];
  float (*zero)[kSweepRows];
  __device__ float at(int i, int j) const { return reinterpret_cast<const float*>(factor[i])[j]; }
  __device__ float correction_at(int i, int j) const { return reinterpret_cast<const float*>(correction[i])[j]; }
};

// Rows panel .. panel + length of an upper triangle, columns first .. limit of the block; zeros around them. All threads.
__device__ inline void load_part(const Sweep& work, const float* matrix, int64_t stride, float4 (*tile)[kSweepTile / 4],
                                 int64_t panel, int length, int64_t first, int64_t limit) {
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y);
  const float* source = matrix + (work.from + panel) * stride + work.from + first;
  for (int k = thread; k < kSweepPanel * kSweepTile; k += threads) {
    const int i = k / kSweepTile, j = k % kSweepTile;
    const bool inside = i < length && first + j < limit;
    cp_async4(reinterpret_cast<float*>(tile[i]) + j, inside ? source + i * stride + j : matrix, inside ? 4 : 0);
  }
}

template <Turn kTurn>
__device__ void load_tile(const Sweep& work, const SweepTile& tile, int64_t panel, int length, int64_t first, int64_t limit) {
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y);
  __syncthreads();  // nobody reads the tile before it any more
  load_part(work, work.factor, work.factor_stride, tile.factor, panel, length, first, limit);
  if constexpr (kTurn == Turn::kCorrect) {
    load_part(work, work.correction, work.correction_stride, tile.correction, panel, length, first, limit);
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

// target[j] += sum over the panel of source_i N_ij, for columns j from first + begin to limit. A row of its own a thread.
__device__ inline void update_columns(const Sweep& work, float4 (*factor)[kSweepTile / 4], const float (&source)[kSweepPanel],
                                      float* target, int64_t first, int begin, int64_t limit) {
  const int end = static_cast<int>(min(limit - first, int64_t{kSweepTile}));
  for (int j = begin / 4 * 4; j < end; j += 4) {
    float sum[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < kSweepPanel; ++i) {
      const float4 n = factor[i][j / 4];
      sum[0] = fmaf(source[i], n.x, sum[0]);
      sum[1] = fmaf(source[i], n.y, sum[1]);
      sum[2] = fmaf(source[i], n.z, sum[2]);
      sum[3] = fmaf(source[i], n.w, sum[3]);
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      if (j + u >= begin && j + u < end) target[(first + j + u) * work.rows] += sum[u];
    }
  }
}

// What sweep_panel points to, at this row: columns of the block.
struct RowOfBlock {
  float *weight, *current, *seen;
  uint8_t *codes, *mask;
  const float *scales, *marks;
  const uint8_t* zeros;
};

template <class T>
__device__ T* moved(T* pointer, int64_t by) {
  return pointer ? pointer + by : nullptr;
}

__device__ inline RowOfBlock row_of(const Sweep& work, int64_t row, float* current) {
  const int64_t at = work.from * work.rows + row;
  return {work.weight + at,       current + row,           moved(work.seen, at),   moved(work.codes, at),
          moved(work.mask, at),   moved(work.scales, row), moved(work.marks, row), moved(work.zeros, row)};
}

struct RowLoss {
  float all = 0, pruned = 0;
};

// The columns of a panel one after the other, in registers. Each is settled, and its error fed to the columns after it. With
// kSolve the error is that of keeping the weight a column has now, which is what columns have before any of them is settled:
// W + D with D (I + N) = C - W, C - W in `current` before, W + D after. seen: the columns when their turn came.
template <Turn kTurn>
__device__ void sweep_panel(const Sweep& work, const SweepTile& tile, const RowOfBlock& at, int64_t panel, int length,
                            float (&error)[kSweepPanel], float (&seen)[kSweepPanel], RowLoss& loss) {
  const int lane = static_cast<int>(threadIdx.x);
  const float maxq = work.spec.maxq();
  const int64_t start = panel * work.rows;
#pragma unroll
  for (int j = 0; j < kSweepPanel; ++j) error[j] = j < length ? at.current[start + j * work.rows] : 0.0F;
  for (int j = 0; j < length; ++j) {
    tile.weight[j][lane] = at.weight[start + j * work.rows];
    if constexpr (quantizes(kTurn)) {
      const int64_t grid = static_cast<int64_t>(work.grid_of[work.from + panel + j]) * work.rows;
      tile.scale[j][lane] = at.scales[grid];
      tile.zero[j][lane] = static_cast<float>(at.zeros[grid]);
    }
  }
#pragma unroll
  for (int j = 0; j < kSweepPanel; ++j) {
    if (j < length) {
      if constexpr (kTurn == Turn::kSolve) {
        error[j] = -error[j];
      } else {
        const int64_t here = start + j * work.rows;
        const float w = error[j];
        float q = w;
        if constexpr (quantizes(kTurn)) {
          const float scale = tile.scale[j][lane], zero = tile.zero[j][lane];
          float code = code_of(w, scale, zero, maxq);
          q = scale * (code - zero);
          if constexpr (prunes(kTurn)) code = at.marks[here] <= work.threshold ? zero : code;
          at.codes[here] = static_cast<uint8_t>(code);
        }
        bool gone = false;
        if constexpr (prunes(kTurn)) {
          gone = at.marks[here] <= work.threshold;
          q = gone ? 0.0F : q;
          at.mask[here] = !gone;
        }
        const float d = w - q;
        loss.all = fmaf(d * d, tile.loss_weight[j], loss.all);
        if constexpr (prunes(kTurn)) loss.pruned = gone ? fmaf(d * d, tile.loss_weight[j], loss.pruned) : loss.pruned;
        if constexpr (kTurn == Turn::kCorrect) seen[j] = w;
        error[j] = tile.weight[j][lane] - q;
      }
#pragma unroll
      for (int k = j + 1; k < kSweepPanel; ++k) {
        error[k] = fmaf(error[j], tile.at(j, k), error[k]);
        if constexpr (kTurn == Turn::kCorrect) error[k] = fmaf(seen[j], tile.correction_at(j, k), error[k]);
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kSweepPanel; ++j) {
    if (j >= length) {
      error[j] = 0;
      if constexpr (kTurn == Turn::kCorrect) seen[j] = 0;
    } else if constexpr (kTurn == Turn::kSolve) {
      at.current[start + j * work.rows] = tile.weight[j][lane] - error[j];
    } else {
      at.weight[start + j * work.rows] = error[j];
      if constexpr (kTurn == Turn::kCorrect) at.seen[start + j * work.rows] = seen[j];
    }
  }
}

struct BlockLoss {
  double all = 0, pruned = 0;
};

// Columns from .. end of the block in panels; each feeds the columns after it up to `limit`. All threads; `row` < 0: this
// thread has none and only helps to load the factor.
template <Turn kTurn>
__device__ void sweep_columns(const Sweep& work, const SweepTile& tile, int64_t row, float* current, int64_t from, int64_t end,
                              int64_t limit, BlockLoss& total) {
  for (int64_t panel = from; panel < end; panel += kSweepPanel) {
    const int length = static_cast<int>(min(end - panel, int64_t{kSweepPanel}));
    float error[kSweepPanel], seen[kSweepPanel];
    RowLoss loss;
    for (int64_t first = panel; first < limit; first += kSweepTile) {
      load_tile<kTurn>(work, tile, panel, length, first, limit);
      if (row < 0) continue;
      if (first == panel) sweep_panel<kTurn>(work, tile, row_of(work, row, current), panel, length, error, seen, loss);
      const int begin = first == panel ? length : 0;
      update_columns(work, tile.factor, error, current + row, first, begin, limit);
      if constexpr (kTurn == Turn::kCorrect) update_columns(work, tile.correction, seen, current + row, first, begin, limit);
    }
    total.all += static_cast<double>(loss.all);
    total.pruned += static_cast<double>(loss.pruned);
  }
}

// The weights that columns from .. end of the block have now, in `solved`. All threads.
__device__ inline void solve_columns(const Sweep& work, const SweepTile& tile, int64_t row, int64_t from, int64_t end) {
  for (int64_t c = from; row >= 0 && c < end; ++c) {
    const int64_t at = c * work.rows + row;
    work.solved[at] = work.current[at] - work.weight[work.from * work.rows + at];
  }
  BlockLoss none;
  sweep_columns<Turn::kSolve>(work, tile, row, work.solved, from, end, end, none);
}

// The columns of this row with all updates from before the block.
__device__ inline void start_columns(const Sweep& work, int64_t row) {
  for (int64_t c = 0; c < work.width; ++c) {
    float* current = work.current + c * work.rows + row;
    const float weight = work.weight[(work.from + c) * work.rows + row];
    *current = work.from > 0 ? weight + *current : weight;
  }
}

__device__ inline float score_of(const Sweep& work, int64_t column, int64_t row) {
  if (work.held && !work.held[(work.from + column) * work.rows + row]) return -1;
  return fabsf(work.solved[column * work.rows + row]) * work.score_weight[work.from + column];
}

// marks of a group: -1 for the smallest scores, n of m, else 1; of equal ones the first go, held ones always.
__device__ inline void mark_group(const Sweep& work, int64_t row, int64_t from, int64_t end) {
  const int64_t quota = work.n * (end - from) / work.m;
  for (int64_t a = from; a < end; ++a) {
    const float mine = score_of(work, a, row);
    int64_t before = 0;
    for (int64_t c = from; c < end; ++c) {
      const float other = score_of(work, c, row);
      before += other < mine || (other == mine && c < a);
    }
    work.marks[a * work.rows + row] = before < quota || mine < 0 ? -1.0F : 1.0F;
  }
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

// Scores of a block, by its weights as they are now, to `marks`.
OSC_GLOBAL __launch_bounds__(kSweepRows) score_block(Sweep work) {
  OSC_SHARED(float4, factor, [kSweepPanel][kSweepTile / 4]);
  OSC_SHARED(float, loss_weight, [kSweepPanel]);
  OSC_SHARED(float, weight, [kSweepPanel][kSweepRows]);
  const SweepTile tile{factor, nullptr, loss_weight, weight, nullptr, nullptr};
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kSweepRows + threadIdx.x;
  const int64_t row = index < work.rows ? index : -1;
  for (int64_t c = 0; row >= 0 && c < work.width; ++c) {  // `current` is left as it is
    const int64_t at = c * work.rows + row;
    work.solved[at] = work.from > 0 ? work.current[at] : 0.0F;
  }
  BlockLoss none;
  sweep_columns<Turn::kSolve>(work, tile, row, work.solved, 0, work.width, work.width, none);
  for (int64_t c = 0; row >= 0 && c < work.width; ++c) work.marks[c * work.rows + row] = score_of(work, c, row);
}

template <Turn kTurn>
OSC_GLOBAL __launch_bounds__(kSweepRows * searchers_of(kTurn)) sweep_block(Sweep work) {
  OSC_SHARED(float4, factor, [kSweepPanel][kSweepTile / 4]);
  OSC_SHARED(float4, correction, [kTurn == Turn::kCorrect ? kSweepPanel : 1][kSweepTile / 4]);
  OSC_SHARED(float, loss_weight, [kSweepPanel]);
  OSC_SHARED(float, weight, [kSweepPanel][kSweepRows]);
  OSC_SHARED(float, scale, [kSweepPanel][kSweepRows]);
  OSC_SHARED(float, zero, [kSweepPanel][kSweepRows]);
  const SweepTile tile{factor, correction, loss_weight, weight, scale, zero};
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kSweepRows + threadIdx.x;
  const int64_t row = index < work.rows ? index : -1;
  const bool owner = row >= 0 && threadIdx.y == 0;
  if (owner) start_columns(work, row);
  const int64_t mine = owner ? row : -1;
  const int64_t run = prunes(kTurn) ? work.m : work.group;  // columns that are looked at together, 0: none are
  BlockLoss loss;
  for (int64_t from = 0; from < work.width;) {
    const int64_t end = run > 0 ? min(work.width, from + run) : work.width;
    if (run > 0) {
      solve_columns(work, tile, mine, from, end);
      if constexpr (prunes(kTurn)) {
        if (owner) mark_group(work, row, from, end);
      } else {
        make_group_grid(work, row, owner, from, end);
      }
    }
    sweep_columns<kTurn>(work, tile, mine, work.current, from, end, work.width, loss);
    from = end;
  }
  if (!owner) return;
  work.loss[row] += loss.all;
  if constexpr (prunes(kTurn)) work.prune_loss[row] += loss.pruned;
}

}  // namespace
}  // namespace osc
