import { syrkEma, type SyrkEmaOptions } from "../linalg/index.js";
import { matmul } from "../ops/matmul.js";
import { item } from "../ops/tensor-mean.js";
import { scope, type Tensor } from "../tensor/index.js";

/** Sizes around an axis of `[batch, d1, ..., dk]`; axes count from 0 for d1. */
function around(shape: readonly number[], axis: number) {
  const count = (part: readonly number[]) => part.reduce((product, d) => product * d, 1);
  const dims = shape.slice(1);
  return {
    batch: item(shape, 0),
    before: count(dims.slice(0, axis)),
    length: item(dims, axis),
    after: count(dims.slice(axis + 1)),
  };
}

/**
 * @internal Every line of x along an axis multiplied by a matrix: `y = x x_axis P`.
 *
 * @param x `[batch, d1, ..., dk]`, contiguous. @param matrices `[batch, d, d]`, d the length of the axis.
 * @returns of the shape of x, contiguous; the caller disposes it.
 */
export function modeProduct(x: Tensor, matrices: Tensor, axis: number): Tensor {
  return scope(() => {
    const { batch, before, length, after } = around(x.shape, axis);
    const y =
      after === 1
        ? matmul(x.reshape([batch, before, length]), matrices.transpose())
        : matmul(
            batch === 1 ? matrices : matrices.reshape([batch, 1, length, length]),
            x.reshape([batch, before, length, after]),
          );
    return y.reshape(x.shape);
  });
}

/**
 * @internal The statistic of an axis: `state = beta state + weight X X^T`, X the unfolding of x along it.
 *
 * @param state `[batch, d, d]`. @param x as in `modeProduct`.
 */
export function updateFactor(
  state: Tensor,
  x: Tensor,
  axis: number,
  options: Omit<SyrkEmaOptions, "transposed">,
): void {
  scope(() => {
    const { batch, before, length, after } = around(x.shape, axis);
    const lines = x.reshape([batch, before, length, after]);
    if (after === 1) {
      syrkEma(state, lines.reshape([batch, before, length]), options);
    } else {
      const first = before === 1 ? lines : lines.transpose(1, 2).contiguous();
      const unfolded = first.reshape([batch, length, before * after]);
      syrkEma(state, unfolded, { ...options, transposed: true });
    }
  });
}

/**
 * @internal Dimensions joined from left to right while their product stays within `limit`; ones are dropped. [1, 2, 512, 1, 2048,
 * 1, 3, 4] with 1024 gives [1024, 2048, 12]; a shape of ones gives [1].
 */
export function mergeDimensions(shape: readonly number[], limit: number): number[] {
  const merged: number[] = [];
  for (const length of shape) {
    const last = merged.at(-1);
    if (length === 1) continue;
    if (last !== undefined && last * length <= limit) merged[merged.length - 1] = last * length;
    else merged.push(length);
  }
  return merged.length === 0 ? [1] : merged;
}
