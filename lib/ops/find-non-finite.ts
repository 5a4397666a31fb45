import { type CallOptions, kernel, run, type Task } from "../binding/index.js";
import type { Tensor } from "../tensor/index.js";
import { checkTensor } from "./check.js";

export interface NonFinite {
  /** How many elements are NaN or Inf. */
  readonly count: number;
  /** Row-major position of the first, -1 when there is none. */
  readonly index: number;
}

/** Finds NaN and Inf. `x`: any shape, float32 or float64. One pass over memory. */
export async function findNonFinite(x: Tensor, options: CallOptions = {}): Promise<NonFinite> {
  return run(findNonFiniteTask("findNonFinite", x), options);
}

export function* findNonFiniteTask(fn: string, x: Tensor): Task<NonFinite> {
  checkTensor(fn, "x", x, ["float32", "float64"], [...x.shape]);
  const copy = x.isContiguous ? undefined : x.contiguous();
  try {
    const results = yield* kernel(fn, "find_non_finite", x.device, { x: (copy ?? x).native(fn) });
    return { count: results["count"] ?? 0, index: results["index"] ?? -1 };
  } finally {
    copy?.dispose();
  }
}
