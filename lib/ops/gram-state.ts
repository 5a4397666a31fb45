import type { Device } from "../binding/index.js";
import { Tensor, keep } from "../tensor/index.js";

/** Tokens whose products are summed in float32; tokens are gathered to full chunks of this size first. */
export const GRAM_CHUNK = 2048;

/** Most columns whose sums over chunks are kept in float64. */
export const GRAM_FLOAT64_COLUMNS = 2048;

/** What the Gram kernels change: `groups` matrices of `columns` columns each. */
export interface GramState {
  /** `[groups, 2048, columns]` float32: rows that do not fill a chunk yet, the first `staged` of each group. */
  readonly staging: Tensor;
  /** `[groups, columns, columns]` float64 up to 2048 columns, else float32: lower half of the sum over full chunks. */
  readonly accumulator: Tensor;
  staged: number;
}

/** An empty state. Its tensors belong to no scope: the caller disposes them. */
export function newGramState(columns: number, groups: number, device: Device | undefined): GramState {
  const dtype = columns <= GRAM_FLOAT64_COLUMNS ? "float64" : "float32";
  const staging = keep(Tensor.empty([groups, GRAM_CHUNK, columns], { device }));
  try {
    const accumulator = keep(Tensor.zeros([groups, columns, columns], { dtype, device }));
    return { staging, accumulator, staged: 0 };
  } catch (error) {
    staging.dispose();
    throw error;
  }
}
