// The contracts of all kernels. One argument struct each, generated from a field list that the Node-API binding reads
// too: a new kernel needs no binding code.
//
// Field kinds:
//   in(x)      tensor that is read              opt(x)      the same, may be absent (see osc::present)
//   out(x)     tensor that is written whole     inout(x)    tensor that is read and changed
//   i64(x)     integer option (flags: 0 or 1)   f64(x)      real option
//   ret_i64(x) integer result                   ret_f64(x)  real result
// Tensors are allocated by the caller, with the shapes given here. Unless a contract says otherwise: outputs never alias
// inputs, matrices are row-major and contiguous, results do not depend on the number of threads, and a kernel that fails
// leaves its outputs undefined and its inout tensors unchanged. Shapes and dtypes are checked by lib/ops; kernels check
// again only what would make them read or write out of bounds.
#pragma once
#include "core/context.h"
#include "core/status.h"
#include "core/tensor.h"

#define OSC_DECLARE_in(name) OscTensor name{};
#define OSC_DECLARE_opt(name) OscTensor name{};
#define OSC_DECLARE_out(name) OscTensor name{};
#define OSC_DECLARE_inout(name) OscTensor name{};
#define OSC_DECLARE_i64(name) int64_t name = 0;
#define OSC_DECLARE_f64(name) double name = 0;
#define OSC_DECLARE_ret_i64(name) int64_t name = 0;
#define OSC_DECLARE_ret_f64(name) double name = 0;
#define OSC_DECLARE(kind, name) OSC_DECLARE_##kind(name)

// convert: copies x into y, changing dtype and layout.
//   x [...] any dtype, any strides; y same shape, any dtype, contiguous. At most OSC_MAX_RANK dimensions.
//   Real to narrower real rounds half to even (overflow to Inf); real to integer truncates toward zero and saturates
//   (NaN to 0); integer to narrower integer saturates; anything to bool is `x != 0`.
//   x and y must not overlap. Memory-bound: one pass.
#define OSC_FIELDS_convert(F) F(in, x) F(out, y)

// fill: every element of y becomes value (converted as in convert). y [...] any dtype, contiguous.
#define OSC_FIELDS_fill(F) F(out, y) F(f64, value)

// find_non_finite: position of the first NaN or Inf.
//   x [...] float32 or float64, contiguous. index: flat row-major position, -1 when all are finite; count: how many.
#define OSC_FIELDS_find_non_finite(F) F(in, x) F(ret_i64, index) F(ret_i64, count)

// ---- random numbers, flat vectors, fused optimizer steps ----

// random_fill: y_i = shift + scale * r_(index + i), one float32 multiply-add; r from Philox4x32-10 (core/philox.h).
//   y [...] float32, contiguous. kind 0: uniform, multiples of 2^-24 in [0, 1); 1: normal, mean 0 and variance 1; 2: -1 or +1,
//   each with probability 1/2. r depends on (kind, seed, stream, step, index) alone: the same bits on every device, and for
//   any cut into calls. seed and index in [0, 2^53), stream and step in [0, 2^32). No workspace.
#define OSC_FIELDS_random_fill(F)                                                                        \
  F(out, y) F(i64, kind) F(i64, seed) F(i64, stream) F(i64, step) F(i64, index) F(f64, scale) F(f64, shift)

// Optimizer steps: theta, grad and the state are flat vectors of many tensors, contiguous float32 of one size, no two sharing
// memory (ARGUMENT). One pass over memory; the formulas are in core/optimizer_step.h, the same bits on every device
// (AdaHessian with a power other than 0, 1/2, 1: within powf's error). With check_finite NON_FINITE (index: position) leaves
// everything unchanged. Once a step has begun to write it cannot be cancelled. step counts from 1. No workspace, but
// for adahessian_step's blocks of more than 8192 elements: 8 bytes for each 8192 elements of them.

// sgd_momentum_step: g <- grad + weight_decay theta; buffer <- momentum buffer + g; theta <- theta - lr buffer, or with nesterov
//   theta - lr (g + momentum buffer). 20 bytes an element.
#define OSC_FIELDS_sgd_momentum_step(F)                                                             \
  F(in, grad) F(inout, theta) F(inout, buffer) F(f64, lr) F(f64, momentum) F(f64, weight_decay)     \
  F(i64, nesterov) F(i64, check_finite)

// adamw_step: m <- EMA(m, grad; beta1), v <- EMA(v, grad^2; beta2),
//   theta <- theta - lr (mhat / (sqrt(vhat) + eps) + weight_decay theta), hats bias-corrected. 28 bytes an element.
//   Source: Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
#define OSC_FIELDS_adamw_step(F)                                                                          \
  F(in, grad) F(inout, theta) F(inout, m) F(inout, v) F(f64, lr) F(f64, beta1) F(f64, beta2) F(f64, eps)  \
  F(f64, weight_decay) F(i64, step) F(i64, check_finite)

// adahessian_step: m <- EMA(m, grad; beta1), v <- EMA(v, d^2; beta2),
//   theta <- theta - lr (mhat / max(sqrt(vhat)^hessian_power + eps, min_denominator) + weight_decay theta), hats bias-corrected.
//   d is the mean of |diagonal| over the element's block: segments [k, 2] int32 has a row (end, block) for each tensor, whose
//   elements end before `end` and are averaged over runs of `block`, which must divide their number (ARGUMENT: index = row).
//   Absent: no averaging. 32 bytes an element, 36 in blocks of more than 8192. Source: Yao et al., AdaHessian, 2021.
#define OSC_FIELDS_adahessian_step(F)                                                                          \
  F(in, grad) F(in, diagonal) F(opt, segments) F(inout, theta) F(inout, m) F(inout, v) F(f64, lr) F(f64, beta1) \
  F(f64, beta2) F(f64, eps) F(f64, weight_decay) F(f64, hessian_power) F(f64, min_denominator) F(i64, step)     \
  F(i64, check_finite)

// sophia_step: m <- EMA(m, grad; beta1), theta <- (1 - lr weight_decay) theta - lr sign(m) min(1, |m| / denominator), the
//   denominator scale h + 1e-15 (Gauss-Newton-Bartlett: scale = rho * batch) or with hutchinson max(scale h, 1e-12) (scale =
//   rho). clipped [1] float64: elements that moved by all of lr. h is read only. 24 bytes an element.
//   Source: Liu et al., Sophia, 2023.
#define OSC_FIELDS_sophia_step(F)                                                                              \
  F(in, grad) F(in, h) F(inout, theta) F(inout, m) F(out, clipped) F(f64, lr) F(f64, beta1) F(f64, weight_decay) \
  F(f64, scale) F(i64, hutchinson) F(i64, check_finite)

// innaprop_step: v <- EMA(v, grad^2; sigma), u = grad / (sqrt(vhat) + eps), then with offset = 1 - alpha beta and theta decayed:
//   psi <- (1 - lr/beta) psi + lr (1/beta - alpha) theta,
//   theta <- (1 + lr offset/(beta - lr)) theta - lr/(beta - lr) psi - lr beta u. lag is psi - offset theta (before the
//   decay), zero at first: in it a step is theta <- theta - (lr/beta) lag - lr beta u, without cancellation. lr < beta.
//   28 bytes an element. Source: Bolte et al., A second-order-like optimizer with adaptive gradient scaling, 2024.
#define OSC_FIELDS_innaprop_step(F)                                                                             \
  F(in, grad) F(inout, theta) F(inout, lag) F(inout, v) F(f64, lr) F(f64, alpha) F(f64, beta) F(f64, sigma)      \
  F(f64, eps) F(f64, weight_decay) F(i64, step) F(i64, check_finite)

// oasis_step: curvature <- EMA(curvature, diagonal; beta2), m <- EMA(m, grad; beta1),
//   theta <- (1 - lr weight_decay) theta - lr mhat / max(|curvature|, alpha), mhat bias-corrected. m may be empty: the gradient
//   itself, and beta1 is 0. 28 bytes an element, 20 without m. Source: Jahani et al., Doubly adaptive scaled algorithm, 2022.
#define OSC_FIELDS_oasis_step(F)                                                                              \
  F(in, grad) F(in, diagonal) F(inout, theta) F(inout, m) F(inout, curvature) F(f64, lr) F(f64, beta1)         \
  F(f64, beta2) F(f64, alpha) F(f64, weight_decay) F(i64, step) F(i64, check_finite)

// adafisher_step: m <- EMA(m, grad; beta), theta <- (1 - lr weight_decay) theta - lr mhat / (rows_i columns_j + damping) for
//   element (i, j); with l2 weight_decay theta is added to the gradient instead. rows [r] and columns [c] float32, r c the
//   size of theta: diagonals of the factors of a layer's Fisher matrix. Both absent: the divisor is 1. 20 bytes an element.
//   Source: Martins Gomes et al., AdaFisher, 2025.
#define OSC_FIELDS_adafisher_step(F)                                                                          \
  F(in, grad) F(opt, rows) F(opt, columns) F(inout, theta) F(inout, m) F(f64, lr) F(f64, beta) F(f64, damping) \
  F(f64, weight_decay) F(i64, l2) F(i64, step) F(i64, check_finite)

// hutchinson_accumulate: takes one estimate d of a Hessian's diagonal from hv = H z into running statistics, in one pass.
//   d = z hv (kind 0), |hv| (1) or hv^2 (2), then averaged over blocks (segments as in adahessian_step). hv float32, contiguous;
//   probe z of its size, for kind 0; absent: z is drawn as random_fill would (kind 2, seed, stream, step, index), never stored.
//   mean, m2 (needs mean), ema: of hv's size, or empty when not wanted; no two tensors share memory (ARGUMENT).
//   mean and m2: Welford's mean and sum of squared deviations of count + 1 estimates; count = 0 does not read them.
//   ema <- beta ema + (1 - beta) d. total [1] float64: the sum of d in float64; for kind 0 an estimate of the trace.
//   With check_finite NON_FINITE leaves everything unchanged. Once it has begun to write it cannot be cancelled. 4 bytes an
//   element, 4 more for a probe and 8 for each statistic. Workspace: 8 bytes for each 8192 elements.
//   Source: Hutchinson 1990; Yao et al., AdaHessian, 2021; our moments.
#define OSC_FIELDS_hutchinson_accumulate(F)                                                                          \
  F(in, hv) F(opt, probe) F(opt, segments) F(inout, mean) F(inout, m2) F(inout, ema) F(out, total) F(i64, kind)      \
  F(i64, count) F(f64, beta) F(i64, seed) F(i64, stream) F(i64, step) F(i64, index) F(i64, check_finite)

// vector_reduce: result_i = sum_j x_ij (operation 0), sum_j x_ij y_j (1), sqrt(sum_j x_ij^2) (2), max_j |x_ij| (3).
//   x float32 or float64: [rows, n] with contiguous rows (row stride may exceed n), or contiguous of any shape, cut into
//   rows = size of result. y [n] of x's dtype, for operation 1. result [rows] float64. Products and sums in float64, in an order
//   that depends on n alone: parts of 16384 elements, then a tree. NaN comes through; 0 for n = 0. Many rows read y once:
//   one pass over x. Memory-bound. Workspace: 8 bytes for each part of a row.
#define OSC_FIELDS_vector_reduce(F) F(in, x) F(opt, y) F(out, result) F(i64, operation)

// axpby: y = a x + b y, one multiply-add a term in the tensors' dtype.
//   x and y contiguous, of one size, both float32 or both float64. x absent: y = b y. b = 0: y is not read. An abort
//   leaves y undefined. Memory-bound. No workspace.
#define OSC_FIELDS_axpby(F) F(opt, x) F(inout, y) F(f64, a) F(f64, b)

// combine_rows: y_i = beta y_i + alpha sum_j coefficients_ij x_j, over rows x_j of x and y_i of y.
//   x [terms, n], y [rows, n], both float32 or both float64, rows contiguous (row strides may exceed n). coefficients
//   [rows, terms] float64. Sums in float64, j in order, rounded once. beta = 0: y is not read. An abort leaves y
//   undefined. One pass over x while 1024 columns of it fit in the cache. No workspace.
#define OSC_FIELDS_combine_rows(F) F(in, coefficients) F(in, x) F(inout, y) F(f64, alpha) F(f64, beta)

// cg_update: x += alpha p, r -= alpha ap, rr = sum of the new r^2, in one pass.
//   All four vectors contiguous, of one size, all float32 or all float64; alpha is rounded to their dtype. rr [1] float64, in the
//   order of vector_reduce. An abort leaves x and r undefined. Memory-bound. Workspace: 8 bytes for each 16384 elements.
#define OSC_FIELDS_cg_update(F) F(in, p) F(in, ap) F(inout, x) F(inout, r) F(out, rr) F(f64, alpha)

// ---- Gram matrices and quantization ----

// input_gram: accumulates X^T X (unscaled, lower half) over rows gathered to chunks of kGramChunk = 2048.
//   x [tokens, in] float32, rows contiguous (row stride may exceed in).
//   staging [2048, in] float32: rows that do not fill a chunk yet; staged: how many are in it (before: option, after: new_staged).
//   accumulator [in, in] float64 (in <= 2048) or float32 (above): lower half is the sum over full chunks.
//   float32 products over one chunk; their sums in the accumulator's dtype, chunk after chunk: the result does not depend on
//   how tokens were cut into calls, nor on threads. NON_FINITE (index: flat position in x) leaves everything unchanged.
//   Work: in^2 * tokens flops. Workspace: 2048 * in floats; when a call completes several chunks twice
//   that, and in^2 doubles for in <= 2048.
#define OSC_FIELDS_input_gram(F) \
  F(in, x) F(inout, staging) F(inout, accumulator) F(i64, staged) F(ret_i64, new_staged)

// unfold_gram: input_gram over the im2col patches of a convolution's input, one Gram per group, patches never all stored.
//   x [batch, channels, height, width] float32, contiguous; pads are top, left, bottom, right.
//   staging [groups, 2048, k], accumulator [groups, k, k], k = channels/groups * kernel_h * kernel_w, patch order
//   (channel, kernel row, kernel column), one patch per output position in row-major order, image after image.
//   NON_FINITE as in input_gram.
#define OSC_FIELDS_unfold_gram(F)                                                                              \
  F(in, x) F(inout, staging) F(inout, accumulator) F(i64, staged) F(i64, groups) F(i64, kernel_h) F(i64, kernel_w) \
  F(i64, stride_h) F(i64, stride_w) F(i64, pad_top) F(i64, pad_left) F(i64, pad_bottom) F(i64, pad_right)       \
  F(i64, dilation_h) F(i64, dilation_w) F(ret_i64, new_staged)

// gram_matrix: matrix = scale * (accumulator + S^T S) with S the staged rows, mirrored to both halves.
//   staging [2048, in], accumulator [in, in], matrix [in, in] of the accumulator's dtype. The state is not changed.
#define OSC_FIELDS_gram_matrix(F) F(in, staging) F(in, accumulator) F(out, matrix) F(i64, staged) F(f64, scale)

// gptq_factor: dead columns, order, damping, and the reversed Cholesky H_d = R R^T, R upper triangular.
//   gram [n, n] float32 or float64, symmetric with both halves filled, any row stride.
//   damp_percent: fraction of mean(diag H) added to the diagonal. act_order: process columns by falling diag H (stable).
//   precision: 64 or 32, the dtype of the factorization.
//   factor [n, n] float32, any row stride: N_ij = R_ij / R_jj for i < j in processing order; the rest of the matrix is not
//   written; below 1e-20 they are zero. diagonal [n] float64: R_jj. order [n] int32: order[t] = column processed at step t. dead [n] uint8: 1 where
//   diag H = 0 (treated as 1, before the order and the mean are taken).
//   damping: absolute value added. NOT_POSITIVE_DEFINITE: index = original column at which the pivot failed.
//   NON_FINITE: index = flat position in gram. Source: Frantar et al., GPTQ, 2022, algorithm 1; ours: no inverse is formed
//   (docs/numerics.md). Work: n^3/3 flops. Workspace: n^2 / 2 of the precision.
#define OSC_FIELDS_gptq_factor(F)                                                                    \
  F(in, gram) F(out, factor) F(out, diagonal) F(out, order) F(out, dead) F(f64, damp_percent)        \
  F(i64, act_order) F(i64, precision) F(ret_f64, damping) F(ret_i64, dead_columns)

// gptq_quantize_columns: the column recursion of GPTQ over all rows of a layer.
//   weight [out, in] float32. factor, diagonal, order, dead: from gptq_factor.
//   bits 2, 3, 4, 8. group_size: columns per grid, or -1 for one grid a row. sym: symmetric grid. static_groups: grids of all
//   groups of the original columns taken before the sweep; otherwise a group is a run of group_size columns in processing
//   order and its grid is taken from the current weights when its first column is reached. block_size: columns per lazy
//   update. mse: search the range by mean |error|^2.4 over 80 shrinks. float16_scales: round scales to float16.
//   codes [out, in] uint8, scales and zeros [groups, out] float32 / uint8, group_index [in] int32 (of original columns).
//   correction [in, in] float32 from gptaq_correction, rows contiguous, or absent: column j also gets sum_{i<j} w_i M_ij, w_i
//   being column i when its turn came.
//   loss: 1/2 sum R_jj^2 (w_j - q_j)^2, without a correction 1/2 tr((W-Q) H_d (W-Q)^T). Dead columns are quantized as weight 0.
//   Work: out * in^2 flops, twice that with a correction. Workspace: (4 + 1) * in bytes for each row in flight, (8 + 1) with a
//   correction.
#define OSC_FIELDS_gptq_quantize_columns(F)                                                                       \
  F(in, weight) F(in, factor) F(in, diagonal) F(in, order) F(in, dead) F(opt, correction) F(out, codes) F(out, scales) F(out, zeros) \
  F(out, group_index) F(i64, bits) F(i64, sym) F(i64, group_size) F(i64, static_groups) F(i64, block_size)        \
  F(i64, mse) F(i64, float16_scales) F(ret_f64, loss)

// cross_gram: adds (R - X)^T X over the tokens to accumulator: what the inputs of the original model, reference, have to do with
//   those of the compressed one, x.
//   x, reference [tokens, in] float32, rows contiguous, the same tokens in the same order; accumulator [in, in] float64 or
//   float32, contiguous. Products in float32 over chunks of 2048 tokens of this call, their sums in the accumulator's dtype.
//   NON_FINITE (index: flat position) leaves the accumulator unchanged. Work: 2 * in^2 * tokens flops. Workspace: 2048 * in floats.
#define OSC_FIELDS_cross_gram(F) F(in, x) F(in, reference) F(inout, accumulator)

// gptaq_correction: M_ij = alpha T_ij / R_jj^2 for i < j, with T (I + N)^T = scale * cross in the factor's order, columns of dead
//   inputs zero. sum_i w_i M_ij is what GPTAQ adds to column j for the columns before it; see docs/numerics.md.
//   cross [in, in] float32 or float64, rows contiguous; factor, diagonal, order, dead: from gptq_factor. correction [in, in]
//   float32, rows contiguous; zero on and below the diagonal. Work: in^3 / 2 multiply-adds in float32. Workspace: 256 * in bytes a tile.
#define OSC_FIELDS_gptaq_correction(F)                                                                        \
  F(in, cross) F(in, factor) F(in, diagonal) F(in, order) F(in, dead) F(out, correction) F(f64, scale) F(f64, alpha)

// round_to_nearest: every weight to the nearest point of the grid of its row and group.
//   weight [out, in] float32; the grids and outputs are those of gptq_quantize_columns with static groups. Memory-bound.
#define OSC_FIELDS_round_to_nearest(F)                                                       \
  F(in, weight) F(out, codes) F(out, scales) F(out, zeros) F(i64, bits) F(i64, sym)          \
  F(i64, group_size) F(i64, mse) F(i64, float16_scales)

// quantization_error: error = sum over rows of d H d^T, d = w - q; reference = the same of w.
//   gram [in, in] float32 or float64; weight [out, in]; codes, scales, zeros, group_index as above; rows [n] int32: the rows
//   summed. zero_dead: leave out columns with diag H = 0 (they contribute nothing anyway). Products in gram's dtype, sums in
//   float64. Work: 2 * n * in^2 flops for each of the two.
#define OSC_FIELDS_quantization_error(F)                                                              \
  F(in, gram) F(in, weight) F(in, codes) F(in, scales) F(in, zeros) F(in, group_index) F(in, rows)    \
  F(ret_f64, error) F(ret_f64, reference)

// ---- pruning ----
// Masks are bool, 1 where a weight is kept. The key of a score is a 32-bit integer of the same order (core/order_key.h).

// score_histogram: how many scores have each value of one digit of their keys. Three calls find the k-th smallest score of any
//   number of tensors.
//   scores [...] float32, contiguous; absolute: keys of |score|. digit 0, 1, 2: the key's bits 31-21, 20-10, 9-0; only scores
//   whose higher digits equal those of the key prefix are counted. counts [2048] int64 is added to.
//   NON_FINITE (digit 0 only): index = position of the first NaN; counts is unchanged. Memory-bound. Workspace: 32 KiB a tile.
#define OSC_FIELDS_score_histogram(F) F(in, scores) F(inout, counts) F(i64, digit) F(i64, prefix) F(i64, absolute)

// prune_below: sets the weights with the smallest scores to zero.
//   weight [...] float32; scores: the same size, or absent: |weight|. Pruned are the weights whose key is below threshold, and of
//   those whose key equals it the first `ties` in row-major order (-1: all). pruned, mask: the size of weight; zeros: how many
//   were pruned; equal: how many keys equal threshold. All contiguous. Memory-bound.
#define OSC_FIELDS_prune_below(F)                                                                             \
  F(in, weight) F(opt, scores) F(out, pruned) F(out, mask) F(i64, threshold) F(i64, ties) F(ret_i64, zeros) F(ret_i64, equal)

// prune_rows: in each row sets the weights with the smallest |weight| * column_scale (one float32 product) to zero.
//   weight [out, in] float32, rows contiguous; column_scale [in] float32, >= 0, or absent: 1. m = 0: the n smallest of each row;
//   m > 0: the n smallest of every m consecutive columns, floor(n l / m) of a last group of l. Of equal scores the lower columns
//   go first. pruned, mask [out, in] contiguous. Values are finite. Memory-bound. Workspace: 8 * in bytes a tile.
#define OSC_FIELDS_prune_rows(F) \
  F(in, weight) F(opt, column_scale) F(out, pruned) F(out, mask) F(i64, n) F(i64, m)

// weight_error: as quantization_error, for two dense weights: error = sum over rows of d H d^T, d = weight - other.
//   gram [in, in] float32 or float64; weight, other [out, in] float32; all with contiguous rows; rows [n] int32. reference: the
//   same sum of weight. cross [in, in] of gram's dtype, or absent: cross_error = the sum of w C d^T. Products in gram's dtype,
//   sums in float64. Work: 2 * n * in^2 flops for each of the two, as much again with cross.
#define OSC_FIELDS_weight_error(F)                                                                                 \
  F(in, gram) F(opt, cross) F(in, weight) F(in, other) F(in, rows) F(ret_f64, error) F(ret_f64, reference)         \
  F(ret_f64, cross_error)

// sparsegpt_prune_columns: prunes columns in turn, each one's error fed to the columns after it; with bits > 0 the weights that
//   stay are quantized in the same sweep.
//   weight, factor, diagonal, order, dead: as in gptq_quantize_columns. held [out, in] bool, rows contiguous, or absent: where it
//   is 0 the weight is pruned whatever its score, and counts to the target.
//   m = 0: in each block of block_size columns the floor(size * sparsity) smallest scores |w| R_jj of all rows together, by the
//   weights as they are when the block's turn comes; of equal ones the first in row-major order. exact_count 0: everything up to
//   and including the next-smallest, ties too. m > 0: the n smallest of every m consecutive columns of a row, floor(n l / m) of a
//   last group of l, by the weights as they are when the group's turn comes; ties: lower column first; block_size does not matter.
//   bits > 0: grids of the original weights per row or group; codes [out, in], scales and zeros [groups, out]; else all three
//   have size 0. Dead columns become 0.
//   pruned, mask [out, in] contiguous; zeros_count: how many are pruned. loss: 1/2 tr((W-Q) H_d (W-Q)^T); pruning_loss: the
//   part of the pruned weights. Work: out * in^2 flops. Workspace: (4 + 1) * out * in bytes.
#define OSC_FIELDS_sparsegpt_prune_columns(F)                                                                        \
  F(in, weight) F(in, factor) F(in, diagonal) F(in, order) F(in, dead) F(opt, held) F(out, pruned) F(out, mask)      \
  F(out, codes) F(out, scales) F(out, zeros) F(f64, sparsity) F(i64, exact_count) F(i64, n) F(i64, m)                \
  F(i64, block_size) F(i64, bits) F(i64, sym) F(i64, group_size) F(i64, mse) F(i64, float16_scales) F(ret_f64, loss) \
  F(ret_f64, pruning_loss) F(ret_i64, zeros_count)

// fwht: each row times an orthogonal matrix of Hadamard blocks: y = x R, R = diag(signs) (H_p (x) B) / sqrt(block) on every run of
//   block = p m columns, H_p Sylvester's matrix of order p = 2^k in natural order; inverse: y = x R^T.
//   x [rows, n] float32 or float64, rows contiguous; y the same shape and dtype, contiguous, may be x. signs [n] float32, or
//   absent: 1. base [m, m] float32 of +-1 with B B^T = m I, or absent: m = 1. block divides n. In the dtype of x.
//   Work: n (log2 p + m) additions a row. Workspace: m numbers a tile.
#define OSC_FIELDS_fwht(F) F(in, x) F(out, y) F(opt, signs) F(opt, base) F(i64, block) F(i64, inverse)

// column_statistics: for each column of x adds the sums of x^2 and |x| over the rows, and raises the largest |x|.
//   x [tokens, in] float32, rows contiguous; squares, magnitudes [in] float64, largest [in] float32. Each sum is taken in the
//   order of the tokens, however they are cut into calls. NON_FINITE (index: flat position in x) leaves all three unchanged.
//   Memory-bound. No workspace.
#define OSC_FIELDS_column_statistics(F) F(in, x) F(inout, squares) F(inout, magnitudes) F(inout, largest)

// clip_groups: limits the weights of each row and group to the range [-b, b] whose rounding to nearest changes the output least by
//   d H_gg d^T, d = weight - its rounded clipped weight, among b = 1, 0.95, ... 0.55 of the group's largest |w|; of equal ones the
//   widest. weight [out, in] float32, rows contiguous, gram [in, in] float32 or float64, clipped [out, in] contiguous; the grids
//   are those of round_to_nearest. Products in gram's dtype. Work: 20 * out * in * group flops.
#define OSC_FIELDS_clip_groups(F) \
  F(in, weight) F(in, gram) F(out, clipped) F(i64, bits) F(i64, sym) F(i64, group_size) F(i64, float16_scales)

// Optimal Brain Surgeon: rows that share one matrix, each settled weight answered exactly by all others. Reference methods, in
// float64, O(in^3) a row. gram [in, in] float32 or float64, symmetric, both halves filled; damping: absolute, added to the diagonal;
// dead inputs (zero diagonal) make unit rows and columns, their weights are 0. weight [out, in] float32, rows contiguous; all other
// matrices contiguous. loss: 1/2 sum over rows of d H_d d^T. NON_FINITE (index: flat position in gram), NOT_POSITIVE_DEFINITE
// (index: column whose pivot failed, 0 when a row's inverse lost its definiteness). Workspace: 8 in^2 bytes, and as much a row.

// obs_refit_rows: the weights that stay, with those of the mask gone, that change the output least: w_K + H_KK^-1 H_KS w_S.
//   mask [out, in] bool, rows contiguous, 1 where kept; refitted [out, in] float32; zeros: how many are pruned. Source: Hassibi, Stork, OBS, 1993.
#define OSC_FIELDS_obs_refit_rows(F) \
  F(in, gram) F(in, weight) F(in, mask) F(out, refitted) F(f64, damping) F(ret_f64, loss) F(ret_i64, zeros)

// obc_prune_rows: removes the weight whose removal costs least, w_p^2 / (2 [H^-1]_pp), again and again; ties: the lower column.
//   m = 0: `zeros` weights of all rows together, each time of the row whose next one costs least (ties: the lower row); m > 0: the
//   n of every m consecutive columns (floor(n l / m) of a last group of l), each row for itself. pruned, mask [out, in].
//   Source: Frantar, Singh, Alistarh, Optimal Brain Compression, 2022 (ExactOBS).
#define OSC_FIELDS_obc_prune_rows(F)                                                                            \
  F(in, gram) F(in, weight) F(out, pruned) F(out, mask) F(f64, damping) F(i64, zeros) F(i64, n) F(i64, m) F(ret_f64, loss)

// obq_quantize_rows: settles the weight whose rounding costs least, (w_p - q_p)^2 / (2 [H^-1]_pp), again and again; weights that
//   updates pushed off their grid by more than half a step first; ties: the lower column. greedy 0: columns in order instead.
//   The grids and codes are those of gptq_quantize_columns with static groups; given_grids: scales and zeros are read instead.
//   Source: Frantar, Singh, Alistarh, Optimal Brain Compression, 2022 (OBQ).
#define OSC_FIELDS_obq_quantize_rows(F)                                                                           \
  F(in, gram) F(in, weight) F(out, codes) F(inout, scales) F(inout, zeros) F(f64, damping) F(i64, bits) F(i64, sym) \
  F(i64, group_size) F(i64, mse) F(i64, float16_scales) F(i64, greedy) F(i64, given_grids) F(ret_f64, loss)

// pack_bits: rows of codes to rows of one little-endian bit stream each: code i of a row at bits [i*bits, (i+1)*bits).
//   codes [rows, columns] uint8, any strides; bits 1..8, higher bits of a code are cut off. packed [rows, words] int32 or
//   uint8 (bit t of the stream is bit t mod 32 of word t div 32, or t mod 8 of byte t div 8), contiguous, with at least
//   ceil(padded_columns * bits / word bits) words a row. Codes from columns to padded_columns are fill [rows] uint8 (0 when
//   absent), bits after them 0. Memory-bound. Workspace: 64 rows a thread when the codes of a row are not neighbours.
#define OSC_FIELDS_pack_bits(F) F(in, codes) F(opt, fill) F(out, packed) F(i64, bits) F(i64, padded_columns)

// unpack_bits: the inverse of pack_bits. packed [rows, words] int32 or uint8, any strides, words as above; codes
//   [rows, columns] uint8, contiguous; bits 1..8. Memory-bound. Workspace as pack_bits.
#define OSC_FIELDS_unpack_bits(F) F(in, packed) F(out, codes) F(i64, bits)

// dequantize: weight_oi = scales_go * (codes_oi - zeros_go) in float32 with g = group_index_i.
//   codes [out, in] uint8, any strides; scales [groups, out] float32, zeros [groups, out] uint8, group_index [in] int32 in
//   0..groups-1 (ARGUMENT with index = column otherwise), weight [out, in] float32; all contiguous. Memory-bound.
//   Workspace: 8 * in bytes.
#define OSC_FIELDS_dequantize(F) F(in, codes) F(in, scales) F(in, zeros) F(in, group_index) F(out, weight)

// Elementwise, reductions and copies. Real: float32 or float64, all real tensors of a call of one dtype. Inputs may have any
// strides, also 0 (broadcasting); outputs are contiguous. NaN and Inf go through. Memory-bound unless said otherwise.

// unary: y_i = weight_i f(x_i), f the derivative of `order` 0, 1 or 2 of the function `op` (core/elementwise.h: UnaryOp).
//   x, y [...] real, one shape; weight the same, absent for 1. alpha, beta: of affine, power and clamp. float32 functions to
//   about 2 ulp, float64 those of the C library. Orders that core/elementwise.h has no formula for are 0: do not ask.
#define OSC_FIELDS_unary(F) F(in, x) F(opt, weight) F(out, y) F(i64, op) F(i64, order) F(f64, alpha) F(f64, beta)

// binary: y_i = a_i op b_i (BinaryOp). a, b, y [...] real, one shape (repeat by strides of 0).
#define OSC_FIELDS_binary(F) F(in, a) F(in, b) F(out, y) F(i64, op)

// compare: y_i = a_i op b_i as 0 or 1 (CompareOp). a, b [...] real, y bool, one shape. Any comparison with NaN is 0, != is 1.
#define OSC_FIELDS_compare(F) F(in, a) F(in, b) F(out, y) F(i64, op)

// select: y_i = condition_i ? a_i : b_i. condition bool; a, b, y [...] real, one shape.
#define OSC_FIELDS_select(F) F(in, condition) F(in, a) F(in, b) F(out, y)

// reduce: y = scale * sum (op 0) or max (op 1) of x over the dimensions where y has 1.
//   x, y [...] real, of one rank. Sums in float64 over pieces that depend on the shapes and strides alone, added in order.
//   The sum of nothing is 0, the max of nothing -Inf; a max with a NaN is NaN. Workspace: at most 64 partial results an output,
//   on a GPU 1024.
#define OSC_FIELDS_reduce(F) F(in, x) F(out, y) F(i64, op) F(f64, scale)

// copy: y = x. One shape and dtype, any dtype; y may have any strides, but no two elements in one place, and not x's memory.
#define OSC_FIELDS_copy(F) F(in, x) F(out, y)

// Rows: matrices [rows, n], contiguous, real. Sums in float64, lane by lane.

// softmax: y_i = e^(scale x_i) / sum_j e^(scale x_j), or its logarithm (log = 1), row by row; scale > 0.
//   x, y [rows, n]. causal_rows q > 0: rows are queries, q to a matrix, and query i sees keys 0..i + n - q alone; the others
//   get 0 (log: -Inf). A row of -Inf alone, or with NaN or +Inf, is NaN. Compute-bound: an exponential an element.
#define OSC_FIELDS_softmax(F) F(in, x) F(out, y) F(f64, scale) F(i64, log) F(i64, causal_rows)

// softmax_backward: dx = scale y (g - sum(g y)), or with log = 1 dx = scale (g - e^y sum(g)), row by row: the derivative of
//   softmax at y times g, both ways, for its Jacobian is symmetric (log: the way back). y, g, dx [rows, n].
#define OSC_FIELDS_softmax_backward(F) F(in, y) F(in, g) F(out, dx) F(f64, scale) F(i64, log)

// cross_entropy: loss_r = log sum_c e^(x_rc) - x_r,target. x [rows, classes], classes > 0; target [rows] int32; loss, log_sum
//   [rows]. A target equal to ignore_index gives 0 when ignore = 1; another one that is no class: ARGUMENT, index = row.
//   Workspace: a row a thread; none on a GPU.
#define OSC_FIELDS_cross_entropy(F) \
  F(in, x) F(in, target) F(out, loss) F(out, log_sum) F(i64, ignore) F(i64, ignore_index)

// cross_entropy_backward: dx_rc = weight_r (e^(x_rc - log_sum_r) - [c = target_r]), 0 in ignored rows. Shapes as above,
//   weight [rows], dx [rows, classes].
#define OSC_FIELDS_cross_entropy_backward(F)                                              \
  F(in, x) F(in, target) F(in, log_sum) F(in, weight) F(out, dx) F(i64, ignore) F(i64, ignore_index)

// ctc_loss: minus the log-probability of each target under connectionist temporal classification, and its derivative by x.
//   x [n, steps, classes] real log-probabilities (any weights); target [n, labels] int32, no blanks; input_length,
//   target_length [n] int32; loss [n]; slope as x, 0 after a sequence's own steps. ARGUMENT, index = sequence: a length out of
//   range, a label that is the blank or no class, fewer steps than the target needs. A target of probability 0: loss
//   infinite, slope NaN. Sums in float64.
//   Work: 8 steps (2 labels + 1) exponentials a sequence. Workspace: 8 (steps + 4) (2 labels + 1) bytes for each in flight.
#define OSC_FIELDS_ctc_loss(F) \
  F(in, x) F(in, target) F(in, input_length) F(in, target_length) F(out, loss) F(out, slope) F(i64, blank)

// ctc_loss_curvature: y = d slope / d x times v, the Hessian of ctc_loss times v. v, y as x; the rest as there, twice the work.
#define OSC_FIELDS_ctc_loss_curvature(F) \
  F(in, x) F(in, v) F(in, target) F(in, input_length) F(in, target_length) F(out, y) F(i64, blank)

// normalize: y = (x - mean) inverse_deviation for each row r of x [outer, rows, inner], over outer and inner, with
//   inverse_deviation = 1 / sqrt(mean((x - mean)^2) + eps). centred = 0: mean is taken as 0 (root mean square).
//   x, y contiguous; mean, inverse_deviation [rows]. Two passes; nothing to take a mean of gives NaN.
#define OSC_FIELDS_normalize(F) \
  F(in, x) F(out, y) F(out, mean) F(out, inverse_deviation) F(f64, eps) F(i64, centred)

// normalize_backward: dx = inverse_deviation (g - mean(g) - y mean(g y)) for each row, without mean(g) when centred = 0: the
//   derivative of normalize times g, both ways, for its Jacobian is symmetric. Shapes as above.
#define OSC_FIELDS_normalize_backward(F) F(in, y) F(in, inverse_deviation) F(in, g) F(out, dx) F(i64, centred)

// gather: y_ojk = x_o,index_oj,k. x [outer, n, inner] real, index [outer, m] or [1, m] int32, y [outer, m, inner], all
//   contiguous. An index that is not from 0 to n - 1: ARGUMENT, index = its position.
#define OSC_FIELDS_gather(F) F(in, x) F(in, index) F(out, y)

// scatter_add: y_onk = sum of g_ojk over the j with index_oj = n: the transpose of gather, shapes and errors as there.
//   Sums in float64, in the order of j. Workspace: n + m integers, for each thread when outer > 1 and index is [outer, m],
//   on a GPU for each row of index.
#define OSC_FIELDS_scatter_add(F) F(in, g) F(in, index) F(out, y)

// argmax: the column of the largest element of each row, the first of equal ones; a NaN is the largest.
//   x [rows, n], n > 0; index [rows] int32.
#define OSC_FIELDS_argmax(F) F(in, x) F(out, index)

// rotary: pairs (a, b) of each row turned by the angle of its place: a cos - b sin, b cos + a sin.
//   x, y [outer, places, width] real; cosine, sine [places, pairs], 2 pairs <= width, all contiguous. interleaved = 1: pair i
//   is elements 2i and 2i + 1, else i and i + pairs; elements after the pairs are copied. inverse = 1: turned back.
#define OSC_FIELDS_rotary(F) F(in, x) F(in, cosine) F(in, sine) F(out, y) F(i64, interleaved) F(i64, inverse)

// Convolution and pooling. All contiguous, one real dtype. Elements outside of x are 0.

// conv2d: y_noij = sum over c, p, q of w_ocpq x_n,c,i*stride_h-pad_top+p*dilation_h,j*stride_w-pad_left+q*dilation_w.
//   x [batch, groups * c, height, width], w [outputs, c, kernel_h, kernel_w] with outputs a multiple of groups, each group of
//   outputs sees its own c channels, y [batch, outputs, out_h, out_w] of any size. A product of matrices for each image and
//   group, sums in the dtype. Workspace: the patches of an image, c * kernel_h * kernel_w * out_h * out_w elements a thread; on a GPU
//   those of as many images and groups as fit 128 MiB, of one image at least.
#define OSC_CONV_OPTIONS(F)                                                                                          \
  F(i64, groups) F(i64, stride_h) F(i64, stride_w) F(i64, pad_top) F(i64, pad_left) F(i64, dilation_h) F(i64, dilation_w)
#define OSC_FIELDS_conv2d(F) F(in, x) F(in, w) F(out, y) OSC_CONV_OPTIONS(F)

// conv2d_input: dx, the transpose of conv2d by x, at g [the shape of y]. Same shapes, work and workspace.
#define OSC_FIELDS_conv2d_input(F) F(in, g) F(in, w) F(out, dx) OSC_CONV_OPTIONS(F)

// conv2d_weight: dw, the transpose of conv2d by w, at g [the shape of y]. The batch is summed in at most 8 parts, on a GPU
//   image by image, and those in float64. Workspace: patches as in conv2d and 7 dw; on a GPU a dw an image and one in float64.
#define OSC_FIELDS_conv2d_weight(F) F(in, x) F(in, g) F(out, dw) OSC_CONV_OPTIONS(F)

// avg_pool: the mean of each window of a plane. x [planes, height, width], y [planes, out_h, out_w]; the window of output
//   (i, j) begins at (i * stride_h - pad_top, j * stride_w - pad_left) and is cut off at the edges. whole = 1: divided by
//   kernel_h * kernel_w, else by the elements inside (none: 0). Sums in float64.
#define OSC_POOL_OPTIONS(F) \
  F(i64, kernel_h) F(i64, kernel_w) F(i64, stride_h) F(i64, stride_w) F(i64, pad_top) F(i64, pad_left)
#define OSC_FIELDS_avg_pool(F) F(in, x) F(out, y) OSC_POOL_OPTIONS(F) F(i64, whole)

// avg_pool_backward: dx, the transpose of avg_pool, at g [the shape of y].
#define OSC_FIELDS_avg_pool_backward(F) F(in, g) F(out, dx) OSC_POOL_OPTIONS(F) F(i64, whole)

// max_pool: where in its plane (row * width + column) each window has its largest element: the first of equal ones, or the
//   first NaN. x as above, index [planes, out_h, out_w] int32; every window has an element inside.
#define OSC_FIELDS_max_pool(F) F(in, x) F(out, index) OSC_POOL_OPTIONS(F)

// Dense linear algebra. "Batch" is any number of leading dimensions, equal in all tensors of a call.

// matmul: C = alpha A B + beta C, one product for each index of the batch.
//   a [..., m, k], b [..., k, n], c [..., m, n], all float32 or all float64, of one rank >= 2 and one batch shape. a and b: any
//   batch strides (0 repeats a matrix), one of the last two strides 1 (or its dimension 1) and the other at least the length
//   of the first; c: rows contiguous, no two elements in one place. Every stride of a matrix below 2^31. beta = 0 does not
//   read c; k = 0 gives beta C. NaN and Inf go through. c may not overlap a or b.
//   Tiles of 256 x 256 of c, sums over chunks of 4096 of k in order. Work: 2 m n k flops. No workspace. An abort leaves c
//   undefined.
#define OSC_FIELDS_matmul(F) F(in, a) F(in, b) F(inout, c) F(f64, alpha) F(f64, beta)

// In the kernels below matrices are float32 or float64, all of one dtype, contiguous, [..., n, n] unless another shape is
// given. One matrix is spread over threads, the matrices of a batch run side by side. Where "symmetric" is said, NON_FINITE
// (index: flat position) and ARGUMENT (index: flat position; some |a_ij - a_ji| > 256 eps max |a|) are checked first. A
// residual is made of Frobenius norms, computed from the matrices themselves, exact up to n = 32 and beyond that from 32 fixed
// random probes (standard error at most 13 %); of a batch, the worst one.

// cholesky: a + shift I = factor factor^T, factor lower triangular with a positive diagonal, its upper half zero.
//   a symmetric, its lower half is used. NOT_POSITIVE_DEFINITE: index = item n + order - 1 of the first leading minor that is
//   not positive, item = the first matrix of the batch that fails. Work: n^3/3 flops. Workspace: n^2/2 numbers a matrix in flight.
#define OSC_FIELDS_cholesky(F) F(in, a) F(out, factor) F(f64, shift)

// cholesky_inverse: inverse = (factor factor^T)^-1, both halves.
//   factor: its lower half is read. residual = |factor factor^T inverse - I| / sqrt(n). SINGULAR (index: row, counted over the batch):
//   zero or NaN on the diagonal. Work: 2 n^3/3 flops. Workspace: 2 n^2 numbers a matrix in flight.
#define OSC_FIELDS_cholesky_inverse(F) F(in, factor) F(out, inverse) F(ret_f64, residual)

// solve_triangular: x = op(triangle)^-1 b, op the transpose when `transposed`.
//   triangle: its lower half is read, or its upper one when `upper`. b, x [..., n, k]. SINGULAR as above; NaN and Inf in b go
//   through. Work: n^2 k flops. Workspace: for k > 32 128 n numbers and 128 k for each tile of 256 columns in flight.
#define OSC_FIELDS_solve_triangular(F) F(in, triangle) F(in, b) F(out, x) F(i64, upper) F(i64, transposed)

// eigh: a = vectors diag(values) vectors^T, values ascending.
//   a symmetric. values [..., n], vectors: one a column. residual = |a V - V diag(values)| / |a|. NOT_CONVERGED: index = matrix.
//   An abort is seen between the reduction to tridiagonal form, the eigenvectors of that and their way back; each may take long.
//   Work: 9 n^3 flops or less. Workspace: 4 n (n + 16) numbers a matrix in flight.
#define OSC_FIELDS_eigh(F) F(in, a) F(out, values) F(out, vectors) F(ret_f64, residual)

// matrix_inverse_root: root = (a + ridge lambda_max I)^(-1/p), p = 1..8, lambda_max the largest eigenvalue of a.
//   a symmetric. method 0 tridiagonal: reduction to tridiagonal form, rational function of that; on a GPU the same as 1. 1 eigh:
//   eigenvectors, which are written to vectors unless that is empty ([0]). 2 newton: coupled Newton iteration. 3 polynomial: minimax quadratics fitted to
//   the spectrum. 4 warm: to first order from `basis`, eigenvectors (columns) of a matrix close to a.
//   precision 64: computed in float64 whatever the dtype; 0: in the dtype. retry: a float32 matrix that failed is computed again
//   in float64. max_iterations: of methods 2 and 3, whose lambda_max is an estimate (Lanczos), within a few percent.
//   report [batch, 5] float64, for each matrix: OscCode; iterations, or the index of NON_FINITE and ARGUMENT; residual =
//   |root^p (a + shift I) - I| / sqrt(n); lambda_max; bits of the precision that gave the root. A matrix that fails
//   (NOT_POSITIVE_DEFINITE, NON_FINITE, ARGUMENT: not symmetric) has a root of NaN and does not disturb the others; NOT_CONVERGED: the
//   residual is above tolerance, the root is as far as it came.
//   Work: 10/3 n^3 flops (tridiagonal), 11 n^3 (eigh), 5 n^3 (warm), n^3 for each of 20 to 60 products (polynomial, newton).
//   Workspace: at most 7 n (n + 16) numbers a matrix in flight.
#define OSC_FIELDS_matrix_inverse_root(F)                                                                        \
  F(in, a) F(opt, basis) F(out, root) F(out, vectors) F(out, report) F(i64, p) F(f64, ridge) F(i64, method)      \
  F(i64, precision) F(i64, retry) F(i64, max_iterations) F(f64, tolerance)

// syrk_ema: state = beta state + weight x^T x, or x x^T when `transposed`: the running statistic of a Kronecker factor.
//   x [..., m, k] float32 or float64; state [..., d, d], d = k or m; its lower half is read, both are written and equal. beta = 0
//   does not read it. NaN and Inf go through. Sums of 16384 terms at a time, in order. Work: m k d flops. No workspace. An abort
//   leaves state undefined.
#define OSC_FIELDS_syrk_ema(F) F(in, x) F(inout, state) F(f64, beta) F(f64, weight) F(i64, transposed)

// orthogonalize: y near the orthogonal factor U V^T of x = U S V^T, by X = x / (|x|_F + eps) and X <- (a I + b A + c A^2) X, A = X X^T.
//   x, y [..., m, n]; the smaller side takes the place of the rows. polar 0: `steps` times with a, b, c as given; 1: with minimax
//   coefficients for the spectrum that Lanczos steps see, until |A - I| falls no more, at most `steps` times.
//   residual = |A - I| / sqrt(min(m, n)) of the result, exact; iterations: the most of a matrix. NON_FINITE: index = flat position.
//   NOT_CONVERGED (index = iterations, value = residual): the residual is above tolerance; a matrix of lower rank has no such factor.
//   Work: (3 d^2 e + d^3) flops a step, d <= e. Workspace: 2 d (d + e + 32) numbers a matrix in flight.
#define OSC_FIELDS_orthogonalize(F)                                                                             \
  F(in, x) F(out, y) F(i64, polar) F(i64, steps) F(f64, a) F(f64, b) F(f64, c) F(f64, eps) F(f64, tolerance)    \
  F(ret_f64, residual) F(ret_i64, iterations)

// orthonormal_rows: y y^T = I, row i of y in the span of the first i + 1 rows of x (Householder QR of x^T); of x of lower rank
//   the other rows are any. x, y [..., m, n], m <= n, float32 or float64. Signs are those of LAPACK. NON_FINITE: index = flat position.
//   Work: 4 m^2 n - 4/3 m^3 flops. Workspace: 65 m numbers a matrix in flight. One thread a matrix; one matrix cannot be aborted.
#define OSC_FIELDS_orthonormal_rows(F) F(in, x) F(out, y)

// matrix_sqrt: root = A^(1/2), or A^(-1/2) when `inverse`, A symmetric positive definite; all from B = A / |A|_F.
//   a, root [..., n, n] float32 or float64, the matrices of a batch side by side. method 0: coupled Newton-Schulz, until
//   |Z Y - I| falls no more, at most `steps` times; 1: Taylor polynomial of degree `steps`; 2: Pade approximant [5/5].
//   ARGUMENT: not symmetric; NON_FINITE: index = flat position; NOT_POSITIVE_DEFINITE: index = item n + failing minor (of A; for
//   the root of A + n eps |A| I, and the root of 0 is 0). residual = |S^2 - A| / |A| or |T^2 A - I| / sqrt(n) (Frobenius; beyond n = 32
//   by 32 probes) of the worst matrix; above tolerance: NOT_CONVERGED, index = iterations, value = residual. iterations: the most.
//   Work: n^3/3 + 6 n^3 a step, 5 n^3 (Taylor 10), 7 n^3 (Pade). Workspace: at most 7 n (n + 16) numbers a matrix in flight.
#define OSC_FIELDS_matrix_sqrt(F)                                                                       \
  F(in, a) F(out, root) F(i64, inverse) F(i64, method) F(i64, steps) F(f64, tolerance) F(ret_f64, residual)  \
  F(ret_i64, iterations)

// lyapunov: S X + X S = G, S symmetric positive definite, by the matrix sign iteration.
//   s, g, x [..., n, n] of one dtype, float32 or float64; g need not be symmetric, and is cheaper when it is to the bit. At most
//   max_iterations times, until the iterate of S falls no more. Errors as matrix_sqrt. residual = |S X + X S - G| / |G|, measured as
//   there. Work: 5 times 2 n^3 an iteration, 3.5 times for a symmetric g. Workspace: 7 n (n + 16) numbers a matrix in flight.
#define OSC_FIELDS_lyapunov(F) \
  F(in, s) F(in, g) F(out, x) F(i64, max_iterations) F(f64, tolerance) F(ret_f64, residual) F(ret_i64, iterations)

namespace osc {

#define OSC_KERNEL(stem, Type)                         \
  struct Type##Args {                                  \
    OSC_FIELDS_##stem(OSC_DECLARE)                     \
  };                                                   \
  Status stem(Type##Args& args, const Context& context);
#include "kernels.def"
#undef OSC_KERNEL

}  // namespace osc
