import { enqueue } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";

/** One axis, several, or all when absent; negative ones count from the end. */
export type Axes = number | readonly number[] | undefined;

/** The axes as sorted, distinct, non-negative numbers. */
export function axesOf(fn: string, rank: number, axes: Axes): readonly number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === "number" ? [axes] : axes).map((axis) =>
    axis < 0 ? axis + rank : axis,
  );
  const good = list.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < rank);
  if (!good || new Set(list).size !== list.length)
    throw new ArgumentError(
      expected(fn, `distinct axes of a tensor of rank ${rank}`, "axes", axes),
    );
  return [...list].sort((a, b) => a - b);
}

/** The shape with 1 for each of the axes. */
export function reducedShape(shape: readonly number[], axes: readonly number[]): number[] {
  return shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
}

/**
 * `scale *` the sum or the largest over some axes, which stay as dimensions of 1. Queued.
 *
 * @param axes as `axesOf` gives them.
 */
export function reduce(
  fn: string,
  op: "sum" | "max",
  x: Tensor,
  axes: readonly number[],
  scale = 1,
): Tensor {
  checkReal(fn, "x", x);
  const y = Tensor.empty(reducedShape(x.shape, axes), { dtype: x.dtype, device: x.device });
  enqueue(fn, "reduce", x.device, {
    x: x.native(fn),
    y: y.native(fn),
    op: op === "sum" ? 0 : 1,
    scale,
  });
  return y;
}
