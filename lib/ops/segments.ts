import { ShapeError, expected } from "../errors.js";
import { nativeArray } from "../tensor/index.js";
import { checkInteger } from "./check.js";

/** Tensors whose elements lie one after the other in a vector, each with the run its elements are averaged over. */
export type Segments = readonly { readonly size: number; readonly block: number }[];

/** @internal The table of segments as kernels take it; undefined when nothing is averaged. */
export function nativeSegments(fn: string, segments: Segments | undefined, size: number) {
  if (segments === undefined || segments.every(({ block }) => block === 1)) return undefined;
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
  return nativeArray(table, "int32", [segments.length, 2]);
}
