// The checks of the pruning and preparation kernels, shared by the CPU and the GPU version; those of quantization are in checks.h.
#pragma once
#include "../core/order_key.h"
#include "checks.h"

namespace osc {

inline bool is_gram(const Tensor& t, int64_t n) { return is_square_matrix(t, OSC_FLOAT32, n) || is_square_matrix(t, OSC_FLOAT64, n); }

inline Status check(const CrossGramArgs& args) {
  const Tensor &x = args.x, &reference = args.reference, &sum = args.accumulator;
  if (!is_row_matrix(x, OSC_FLOAT32) || !is_row_matrix(reference, OSC_FLOAT32) || x.shape[0] != reference.shape[0] ||
      x.shape[1] != reference.shape[1]) {
    return fail(OSC_ARGUMENT, 0, "x and reference must be float32 [tokens, in] with contiguous rows");
  }
  const int64_t in = x.shape[1];
  if (sum.rank != 2 || (!is_flat(sum, OSC_FLOAT32, in * in) && !is_flat(sum, OSC_FLOAT64, in * in)) || sum.shape[0] != in) {
    return fail(OSC_ARGUMENT, 0, "accumulator must be [in, in] float32 or float64");
  }
  return ok();
}

inline Status check(const GptaqCorrectionArgs& args) {
  const Tensor& cross = args.cross;
  const int64_t n = cross.rank == 2 ? cross.shape[0] : -1;
  if (n < 0 || !is_gram(cross, n) || !is_square_matrix(args.factor, OSC_FLOAT32, n) ||
      !is_square_matrix(args.correction, OSC_FLOAT32, n) || !is_flat(args.diagonal, OSC_FLOAT64, n) ||
      !is_flat(args.order, OSC_INT32, n) || !is_flat(args.dead, OSC_UINT8, n)) {
    return fail(OSC_ARGUMENT, 0, "cross, factor and correction must be [in, in], the factor of this layer");
  }
  return ok();
}

inline Status check(const ColumnStatisticsArgs& args) {
  if (!is_row_matrix(args.x, OSC_FLOAT32)) return fail(OSC_ARGUMENT, 0, "x must be float32 [tokens, in] with contiguous rows");
  const int64_t in = args.x.shape[1];
  if (!is_flat(args.squares, OSC_FLOAT64, in) || !is_flat(args.magnitudes, OSC_FLOAT64, in) || !is_flat(args.largest, OSC_FLOAT32, in)) {
    return fail(OSC_ARGUMENT, 0, "squares and magnitudes must be float64, largest float32, one for each column");
  }
  return ok();
}

// Whether `rows` are in range is looked at by the kernel.
inline Status check(const WeightErrorArgs& args) {
  const Tensor &weight = args.weight, &other = args.other, &gram = args.gram;
  if (!is_row_matrix(weight, OSC_FLOAT32) || !is_row_matrix(other, OSC_FLOAT32) || weight.shape[0] != other.shape[0] ||
      weight.shape[1] != other.shape[1]) {
    return fail(OSC_ARGUMENT, 0, "weight and other must be [out, in] float32 with contiguous rows");
  }
  const int64_t n = weight.shape[1];
  if (!is_gram(gram, n) || !is_flat(args.rows, OSC_INT32, size_of(args.rows))) {
    return fail(OSC_ARGUMENT, 0, "gram must be [in, in] float32 or float64, rows int32");
  }
  if (args.cross.data && !is_square_matrix(args.cross, gram.dtype, n)) return fail(OSC_ARGUMENT, 0, "cross must be like gram");
  return ok();
}

inline Status check(const ScoreHistogramArgs& args) {
  if (!is_flat(args.scores, OSC_FLOAT32, size_of(args.scores))) return fail(OSC_ARGUMENT, 0, "scores must be contiguous float32");
  if (!is_flat(args.counts, OSC_INT64, kDigitValues)) return fail(OSC_ARGUMENT, 0, "counts must be int64 [2048]");
  return args.digit >= 0 && args.digit < kKeyDigits ? ok() : fail(OSC_ARGUMENT, 0, "digit must be 0, 1 or 2");
}

inline Status check(const PruneBelowArgs& args) {
  const int64_t size = size_of(args.weight);
  if (!is_flat(args.weight, OSC_FLOAT32, size) || !is_flat(args.pruned, OSC_FLOAT32, size) || !is_flat(args.mask, OSC_BOOL, size)) {
    return fail(OSC_ARGUMENT, 0, "weight, pruned and mask must be contiguous and of one size");
  }
  if (args.scores.data && !is_flat(args.scores, OSC_FLOAT32, size)) {
    return fail(OSC_ARGUMENT, 0, "scores must be float32, one for each weight");
  }
  return ok();
}

inline Status check(const PruneRowsArgs& args) {
  const Tensor& weight = args.weight;
  if (!is_row_matrix(weight, OSC_FLOAT32)) return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  const int64_t columns = weight.shape[1], size = size_of(weight);
  if (!is_flat(args.pruned, OSC_FLOAT32, size) || !is_flat(args.mask, OSC_BOOL, size)) {
    return fail(OSC_ARGUMENT, 0, "pruned and mask must be contiguous, of the size of weight");
  }
  if (args.column_scale.data && !is_flat(args.column_scale, OSC_FLOAT32, columns)) {
    return fail(OSC_ARGUMENT, 0, "column_scale must be float32 [in]");
  }
  if (args.m < 0 || args.n < 0 || (args.m > 0 && args.n > args.m) || (args.m == 0 && args.n > columns)) {
    return fail(OSC_ARGUMENT, 0, "n or m out of range");
  }
  return ok();
}

inline Status check(const ClipGroupsArgs& args) {
  const Tensor& weight = args.weight;
  if (!is_row_matrix(weight, OSC_FLOAT32)) return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  if (!is_gram(args.gram, weight.shape[1])) return fail(OSC_ARGUMENT, 0, "gram must be [in, in] float32 or float64 with contiguous rows");
  if (!is_flat(args.clipped, OSC_FLOAT32, size_of(weight))) return fail(OSC_ARGUMENT, 0, "clipped must be float32 [out, in]");
  if (args.bits < 1 || args.bits > 8 || args.group_size == 0) return fail(OSC_ARGUMENT, 0, "bits or group_size out of range");
  return ok();
}

inline Status check(const FwhtArgs& args) {
  const Tensor &x = args.x, &base = args.base;
  if (!is_row_matrix(x, OSC_FLOAT32) && !is_row_matrix(x, OSC_FLOAT64)) return fail(OSC_ARGUMENT, 0, "x must be float32 or float64 rows");
  const int64_t n = x.shape[1], m = base.data ? base.shape[0] : 1;
  if (!is_flat(args.y, x.dtype, size_of(x))) return fail(OSC_ARGUMENT, 0, "y must be contiguous, of the size and dtype of x");
  if (base.data && (base.rank != 2 || m < 1 || !is_flat(base, OSC_FLOAT32, m * m))) return fail(OSC_ARGUMENT, 0, "base must be float32 [m, m]");
  if (args.signs.data && !is_flat(args.signs, OSC_FLOAT32, n)) return fail(OSC_ARGUMENT, 0, "signs must be float32 [n]");
  const int64_t power = args.block > 0 && args.block % m == 0 ? args.block / m : 0;
  if (power == 0 || (power & (power - 1)) != 0 || n % args.block != 0) {
    return fail(OSC_ARGUMENT, 0, "block must be a power of two times the base and divide n");
  }
  return ok();
}

inline Status check(const SparsegptPruneColumnsArgs& args) {
  const Tensor &weight = args.weight, &held = args.held;
  if (!is_row_matrix(weight, OSC_FLOAT32)) return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  const int64_t rows = weight.shape[0], columns = weight.shape[1], size = rows * columns;
  if (!is_square_matrix(args.factor, OSC_FLOAT32, columns) || !is_flat(args.diagonal, OSC_FLOAT64, columns) ||
      !is_flat(args.order, OSC_INT32, columns) || !is_flat(args.dead, OSC_UINT8, columns)) {
    return fail(OSC_ARGUMENT, 0, "the factor is not of this layer's width");
  }
  if (args.bits < 0 || args.bits > 8 || args.group_size == 0) return fail(OSC_ARGUMENT, 0, "bits or group_size out of range");
  if (args.m < 0 || args.n < 0 || args.n > args.m || args.m > INT32_MAX) return fail(OSC_ARGUMENT, 0, "n or m out of range");
  if (held.data && (!is_row_matrix(held, OSC_BOOL) || held.shape[0] != rows || held.shape[1] != columns)) {
    return fail(OSC_ARGUMENT, 0, "held must be bool [out, in] with contiguous rows");
  }
  const int64_t grids = args.bits > 0 ? Groups(args.group_size, columns).count * rows : 0;
  if (!is_flat(args.pruned, OSC_FLOAT32, size) || !is_flat(args.mask, OSC_BOOL, size) ||
      !is_flat(args.codes, OSC_UINT8, args.bits > 0 ? size : 0) || !is_flat(args.scales, OSC_FLOAT32, grids) ||
      !is_flat(args.zeros, OSC_UINT8, grids)) {
    return fail(OSC_ARGUMENT, 0, "pruned, mask, codes, scales or zeros have the wrong size");
  }
  return args.sparsity >= 0 && args.sparsity <= 1 ? ok() : fail(OSC_ARGUMENT, 0, "sparsity must be 0 to 1");
}

inline bool is_obs_layer(const Tensor& gram, const Tensor& weight) {
  return is_row_matrix(weight, OSC_FLOAT32) && gram.rank == 2 && (gram.dtype == OSC_FLOAT32 || gram.dtype == OSC_FLOAT64) &&
         gram.shape[0] == weight.shape[1] && gram.shape[1] == weight.shape[1];
}

inline Status check(const ObsRefitRowsArgs& args) {
  const Tensor &weight = args.weight, &mask = args.mask;
  const bool fits = is_obs_layer(args.gram, weight) && is_row_matrix(mask, OSC_BOOL) && mask.shape[0] == weight.shape[0] &&
                    mask.shape[1] == weight.shape[1] && is_flat(args.refitted, OSC_FLOAT32, size_of(weight));
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "tensors do not fit the contract of obs_refit_rows");
}

inline Status check(const ObcPruneRowsArgs& args) {
  const int64_t size = size_of(args.weight);
  if (!is_obs_layer(args.gram, args.weight) || !is_flat(args.pruned, OSC_FLOAT32, size) || !is_flat(args.mask, OSC_BOOL, size)) {
    return fail(OSC_ARGUMENT, 0, "tensors do not fit the contract of obc_prune_rows");
  }
  const bool fits = args.m >= 0 && args.n >= 0 && args.n <= args.m && args.zeros >= 0 && args.zeros <= size;
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "n, m or zeros out of range");
}

inline Status check(const ObqQuantizeRowsArgs& args) {
  if (!is_obs_layer(args.gram, args.weight)) {
    return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows, gram [in, in]");
  }
  return check_codes(args.weight, args.codes, args.scales, args.zeros, args.bits, args.group_size);
}

}  // namespace osc
