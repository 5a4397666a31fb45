import { kernel, type Task } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkInteger, checkSameDevice, checkTensor, rowsOf } from "./check.js";
import type { Threshold } from "./select-smallest.js";

/** Weights with zeros in them, and where they are not: `mask` is 1 where a weight was kept. The caller disposes both. */
export interface Pruned {
  readonly weight: Tensor<"float32">;
  readonly mask: Tensor<"bool">;
}

/** @internal New tensors for a pruned weight; freed when `fill` throws. */
export function* newPruned<T>(
  weight: Tensor,
  fill: (pruned: Pruned) => Task<T>,
): Task<Pruned & { result: T }> {
  const { shape, device } = weight;
  const pruned = {
    weight: Tensor.empty(shape, { device }),
    mask: Tensor.empty(shape, { dtype: "bool", device }),
  };
  try {
    return { ...pruned, result: yield* fill(pruned) };
  } catch (error) {
    pruned.weight.dispose();
    pruned.mask.dispose();
    throw error;
  }
}

/**
 * Sets the weights with the smallest scores to zero.
 *
 * @param weight float32, any shape, contiguous.
 * @param scores of the same shape, or undefined: |weight|.
 * @param threshold from `selectSmallest` (with `absolute` when there are no scores).
 * @returns with `zeros`: how many were pruned, and `equal`: how many scores have the threshold's key.
 */
export function* pruneBelow(
  fn: string,
  weight: Tensor,
  scores: Tensor | undefined,
  threshold: Threshold,
): Task<Pruned & { zeros: number; equal: number }> {
  checkTensor(fn, "weight", weight, ["float32"], [...weight.shape]);
  if (scores !== undefined) {
    checkTensor(fn, "scores", scores, ["float32"], weight.shape);
    checkSameDevice(fn, { weight, scores });
  }
  const { result, ...pruned } = yield* newPruned(weight, (pruned) =>
    kernel(fn, "prune_below", weight.device, {
      weight: weight.native(fn),
      scores: scores?.native(fn),
      pruned: pruned.weight.native(fn),
      mask: pruned.mask.native(fn),
      threshold: threshold.key,
      ties: threshold.ties,
    }),
  );
  return { ...pruned, zeros: result["zeros"] ?? 0, equal: result["equal"] ?? 0 };
}

/** How many weights of a row, or of every m consecutive ones, become zero. */
export type RowZeros = { readonly zeros: number } | { readonly n: number; readonly m: number };

/**
 * In each row sets the weights with the smallest |weight| * columnScale to zero; of equal ones the lower columns go first.
 *
 * @param weight `[out, in]` float32, finite.
 * @param columnScale `[in]` float32, finite and >= 0; undefined: 1.
 * @param zeros that many of each row, or n of every m consecutive columns (floor(n l / m) of a last group of l).
 */
export function* pruneRows(
  fn: string,
  weight: Tensor,
  columnScale: Tensor | undefined,
  zeros: RowZeros,
): Task<Pruned> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  const columns = weight.shape[1] ?? 0;
  if (columnScale !== undefined) {
    checkTensor(fn, "columnScale", columnScale, ["float32"], [columns]);
    checkSameDevice(fn, { weight, columnScale });
  }
  const { n, m } = "zeros" in zeros ? { n: zeros.zeros, m: 0 } : zeros;
  if (m === 0) checkInteger(fn, "zeros", n, 0, columns);
  else if (!(n <= m)) throw new ArgumentError(expected(fn, `at most ${m}`, "n", n));
  const { rows, dispose } = rowsOf(weight);
  try {
    return yield* newPruned(weight, (pruned) =>
      kernel(fn, "prune_rows", weight.device, {
        weight: rows.native(fn),
        columnScale: columnScale?.native(fn),
        pruned: pruned.weight.native(fn),
        mask: pruned.mask.native(fn),
        n,
        m,
      }),
    );
  } finally {
    dispose();
  }
}

/**
 * How much a layer's output changes: `error` = sum over rows of d H d^T, d = weight - other; `reference` = the same of weight.
 *
 * @param gram `[in, in]` float32 or float64, symmetric. Products are in its dtype, sums in float64.
 * @param rows which rows to sum over.
 * @param cross `[in, in]` of gram's dtype: `crossError` = sum over rows of w C d^T; without it 0.
 * Cost: `2 * rows * in^2` flops, more by half with `cross`.
 */
export function* weightError(
  fn: string,
  gram: Tensor,
  weight: Tensor,
  other: Tensor,
  rows: Int32Array,
  cross?: Tensor,
): Task<{ error: number; reference: number; crossError: number }> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  checkTensor(fn, "other", other, ["float32"], weight.shape);
  const columns = weight.shape[1] ?? 0;
  checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
  if (cross) checkTensor(fn, "cross", cross, [gram.dtype], [columns, columns]);
  checkSameDevice(fn, { gram, weight, other, ...(cross && { cross }) });
  const held = [gram, weight, other, ...(cross ? [cross] : [])].map(rowsOf);
  try {
    const [h, w, o, c] = held.map((one) => one.rows.native(fn));
    const results = yield* kernel(fn, "weight_error", weight.device, {
      gram: h,
      weight: w,
      other: o,
      cross: c,
      rows: nativeArray(rows, "int32"),
    });
    return {
      error: results["error"] ?? Number.NaN,
      reference: results["reference"] ?? Number.NaN,
      crossError: results["crossError"] ?? Number.NaN,
    };
  } finally {
    for (const one of held) one.dispose();
  }
}
