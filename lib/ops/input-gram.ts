import { call, callSync, type CallOptions, type KernelResults } from "../binding/index.js";
import type { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";

/** Rows whose products are summed in float32 before they go to the accumulator. */
export const GRAM_CHUNK = 2048;

/** Accumulators up to this width are float64, wider ones float32. */
export const GRAM_FLOAT64_COLUMNS = 2048;

/** Where a Gram matrix is gathered. Changed by the kernels. */
export interface GramBuffers {
  /** `[2048, in]` float32: rows that do not fill a chunk yet. */
  readonly staging: Tensor;
  /** `[in, in]` float64 or float32: lower half of the sum over full chunks. */
  readonly accumulator: Tensor;
  /** Rows in `staging`. */
  readonly staged: number;
}

function prepare(fn: string, x: Tensor, buffers: GramBuffers) {
  checkTensor(fn, "X", x, ["float32"], ["tokens", buffers.accumulator.shape[0] ?? 0]);
  checkSameDevice(fn, { X: x, gram: buffers.accumulator });
  const { rows, dispose } = rowsOf(x);
  const args = {
    x: rows.native(fn),
    staging: buffers.staging.native(fn),
    accumulator: buffers.accumulator.native(fn),
    staged: buffers.staged,
  };
  return { args, dispose };
}

const staged = (results: KernelResults) => results["newStaged"] ?? 0;

/**
 * Adds `X^T X` to the buffers, chunk by chunk; returns how many rows are staged afterwards.
 * `x`: `[tokens, in]` float32. `NON_FINITE` (details.index: row-major position in x) leaves the buffers as they were.
 */
export async function accumulateInputGram(
  fn: string,
  x: Tensor,
  buffers: GramBuffers,
  options: CallOptions = {},
): Promise<number> {
  const { args, dispose } = prepare(fn, x, buffers);
  try {
    return staged(await call(fn, "input_gram", x.device, args, options));
  } finally {
    dispose();
  }
}

/** The blocking twin of `accumulateInputGram`. */
export function accumulateInputGramSync(
  fn: string,
  x: Tensor,
  buffers: GramBuffers,
  label?: string,
): number {
  const { args, dispose } = prepare(fn, x, buffers);
  try {
    return staged(callSync(fn, "input_gram", x.device, args, label));
  } finally {
    dispose();
  }
}
