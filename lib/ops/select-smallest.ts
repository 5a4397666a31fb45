import { kernel, type Task } from "../binding/index.js";
import { type Tensor, nativeArray } from "../tensor/index.js";
import { checkTensor } from "./check.js";

/** Where the smallest scores end, as `prune_below` takes it. */
export interface Threshold {
  /** Scores with a smaller key are among the smallest. */
  readonly key: number;
  /** How many of those with this key are too; -1: all. */
  readonly ties: number;
}

/** The digits of a key, highest first; native/core/order_key.h. */
const SHIFTS = [21, 10, 0] as const;
const DIGIT_VALUES = 2048;

export interface SelectOptions {
  /** Order by |score|. */
  readonly absolute: boolean;
  /** Take everything that ties with the k-th smallest, more than k where there are ties. */
  readonly allTies?: boolean | undefined;
}

/**
 * Finds the `k` smallest scores of all tensors together, by radix selection: three passes over memory, nothing is sorted.
 *
 * @param tensors float32, any shapes, contiguous, none NaN; k is at most their number of elements.
 * @throws NumericalError `NON_FINITE` for a NaN.
 */
export function* selectSmallest(
  fn: string,
  tensors: readonly Tensor[],
  k: number,
  options: SelectOptions,
): Task<Threshold> {
  for (const tensor of tensors) checkTensor(fn, "scores", tensor, ["float32"], [...tensor.shape]);
  if (k === 0) return { key: 0, ties: 0 };
  let key = 0;
  let left = k;
  let equal = 0;
  for (const [digit, shift] of SHIFTS.entries()) {
    const counts = new BigInt64Array(DIGIT_VALUES);
    for (const tensor of tensors) {
      yield* kernel(fn, "score_histogram", tensor.device, {
        scores: tensor.native(fn),
        counts: nativeArray(counts, "int64"),
        digit,
        prefix: key,
        absolute: Number(options.absolute),
      });
    }
    let value = 0;
    while (Number(counts[value]) < left) left -= Number(counts[value++]);
    key += value * 2 ** shift;
    equal = Number(counts[value]);
  }
  return { key, ties: options.allTies === true || left === equal ? -1 : left };
}
