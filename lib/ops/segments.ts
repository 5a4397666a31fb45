import { ShapeError, expected } from "../errors.js";
import { nativeArray, sizeOf } from "../tensor/index.js";
import { checkInteger } from "./check.js";

/** Tensors whose elements lie one after the other in a vector, each with the run its elements are averaged over. */
export type Segments = readonly { readonly size: number; readonly block: number }[];

/** Elements of a run by the rank of the tensor, 1 to 4; -1: the default of `spatialBlock`, 1: no averaging. */
export type SpatialBlocks = readonly [number, number, number, number];

/**
 * Over how many consecutive elements of a tensor the estimate of a Hessian's diagonal is averaged.
 *
 * @param blocks default -1 each: none for scalars and vectors, the rows of a matrix, the kernels of a convolution (all axes after the
 *   second). A number > 0 is taken as it is and must divide the number of elements.
 * @throws ArgumentError, ShapeError. Source: Yao et al., AdaHessian, 2021, and its code, whose CIFAR version leaves matrices alone.
 */
export function spatialBlock(
  shape: readonly number[],
  blocks: SpatialBlocks = [-1, -1, -1, -1],
): number {
  const fn = "spatialBlock";
  const size = sizeOf(fn, shape);
  const rank = Math.min(Math.max(shape.length, 1), 4);
  const block = blocks[rank - 1] ?? -1;
  if (block === -1) {
    const averaged = rank === 2 ? shape.slice(1) : rank > 2 ? shape.slice(2) : [];
    return Math.max(sizeOf(fn, averaged), 1);
  }
  checkInteger(fn, `blocks[${rank - 1}]`, block, 1, 2 ** 31 - 1);
  if (size % block !== 0) {
    throw new ShapeError(expected(fn, `a divisor of ${size}`, `blocks[${rank - 1}]`, block));
  }
  return block;
}

/** @internal The table of segments as kernels take it; undefined when nothing is averaged. */
export function nativeSegments(fn: string, segments: Segments | undefined, size: number) {
  if (segments === undefined) return undefined;
  const table = new Int32Array(2 * segments.length);
  let end = 0;
  segments.forEach((segment, i) => {
    checkInteger(fn, `segments[${i}].size`, segment.size, 0, 2 ** 31 - 1);
    checkInteger(fn, `segments[${i}].block`, segment.block, 1, 2 ** 31 - 1);
    if (segment.size % segment.block !== 0) {
      throw new ShapeError(
        expected(fn, `a divisor of ${segment.size}`, `segments[${i}].block`, segment.block),
      );
    }
    table.set([(end += segment.size), segment.block], 2 * i);
  });
  if (end !== size)
    throw new ShapeError(expected(fn, `sizes with the sum ${size}`, "segments", end));
  if (segments.every(({ block }) => block === 1)) return undefined;
  return nativeArray(table, "int32", [segments.length, 2]);
}
