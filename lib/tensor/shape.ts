import { ShapeError, describe, expected } from "../errors.js";

/** Largest number of elements of a dimension. */
const MAX_DIMENSION = 2 ** 31 - 1;

/** Number of elements. Throws `ShapeError` on a bad dimension or when the product is not a safe integer. */
export function sizeOf(fn: string, shape: readonly number[]): number {
  if (shape.length > 8) throw new ShapeError(expected(fn, "at most 8 dimensions", "shape", shape));
  let size = 1;
  for (const dimension of shape) {
    if (!Number.isInteger(dimension) || dimension < 0 || dimension > MAX_DIMENSION) {
      throw new ShapeError(expected(fn, "integers from 0 to 2^31 - 1", "shape", shape));
    }
    size *= dimension;
  }
  if (!Number.isSafeInteger(size))
    throw new ShapeError(`${fn}: shape ${describe(shape)} has too many elements`);
  return size;
}

/** Strides in elements of a contiguous row-major tensor. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i] ?? 1;
  }
  return strides;
}

export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; --i) {
    const dimension = shape[i] ?? 1;
    if (dimension !== 1 && strides[i] !== stride) return dimension === 0 || shape.includes(0);
    stride *= dimension;
  }
  return true;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dimension, i) => dimension === b[i]);
}
