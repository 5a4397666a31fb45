import { call, enqueue } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { checkTensor } from "./check.js";
import type { GramBuffers } from "./input-gram.js";

/**
 * `scale * (sum over chunks + S^T S)`, S the staged rows: `[in, in]`, both halves, in the accumulator's dtype. The buffers
 * are not changed. Queued; the caller disposes the result.
 */
export function gramMatrix(buffers: GramBuffers, scale: number): Tensor {
  const fn = "gramMatrix";
  const { accumulator, staging, staged } = buffers;
  const matrix = Tensor.empty(accumulator.shape, {
    dtype: accumulator.dtype,
    device: accumulator.device,
  });
  enqueue(fn, "gram_matrix", accumulator.device, {
    staging: staging.native(fn),
    accumulator: accumulator.native(fn),
    matrix: matrix.native(fn),
    staged,
    scale,
  });
  return matrix;
}

/** Sets the sum over chunks. `sums`: `[in, in]` of the accumulator's dtype; its lower half counts. */
export async function setAccumulator({ accumulator }: GramBuffers, sums: Tensor): Promise<void> {
  const fn = "setAccumulator";
  checkTensor(fn, "sums", sums, [accumulator.dtype], accumulator.shape);
  const y = accumulator.native(fn);
  await call(fn, "convert", accumulator.device, { x: sums.native(fn), y });
}
