import { Tensor, type DType } from "../../lib/tensor/index.js";
import type { Device } from "../../lib/binding/index.js";

/** Arrays and loops in float64: the slow and obvious way that operations are compared with. */
export interface Plain {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Every index of a shape, row-major. */
export function indices(shape: readonly number[]): number[][] {
  return Array.from({ length: sizeOf(shape) }, (_, flat) => {
    const index = new Array<number>(shape.length);
    for (let d = shape.length - 1; d >= 0; --d) {
      index[d] = flat % shape[d]!;
      flat = Math.floor(flat / shape[d]!);
    }
    return index;
  });
}

export function plain(shape: readonly number[], value: (index: number[]) => number): Plain {
  return { shape, values: Float64Array.from(indices(shape), value) };
}

/** The element at an index; missing leading axes are dropped and axes of one element repeat. */
export function at(x: Plain, index: readonly number[]): number {
  const skip = index.length - x.shape.length;
  const flat = x.shape.reduce((sum, n, d) => sum * n + (n === 1 ? 0 : index[d + skip]!), 0);
  return x.values[flat]!;
}

/** A function of elements over the shape that all broadcast to. */
export function zip(f: (...values: number[]) => number, ...xs: Plain[]): Plain {
  const rank = Math.max(...xs.map((x) => x.shape.length));
  const shape = Array.from({ length: rank }, (_, d) =>
    xs.reduce((n, x) => {
      const length = x.shape[d - rank + x.shape.length] ?? 1;
      return length === 1 ? n : length;
    }, 1),
  );
  return plain(shape, (index) => f(...xs.map((x) => at(x, index))));
}

/** Elements over some axes, reduced by a function; the axes are dropped. */
export function fold(f: (values: number[]) => number, x: Plain, axes: readonly number[]): Plain {
  const kept = x.shape.filter((_, d) => !axes.includes(d));
  const inner = axes.map((axis) => x.shape[axis]!);
  return plain(kept, (index) =>
    f(
      indices(inner).map((part) => {
        const rest = index.slice();
        return at(
          x,
          x.shape.map((_, d) => (axes.includes(d) ? part[axes.indexOf(d)]! : rest.shift()!)),
        );
      }),
    ),
  );
}

/** A fixed sequence of numbers in (-1, 1). */
export function randoms(seed: number): () => number {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 31 - 1;
  };
}

export function randomPlain(shape: readonly number[], seed: number, map = (u: number) => u): Plain {
  const draw = randoms(seed);
  return plain(shape, () => map(draw()));
}

export function toTensor<D extends DType>(x: Plain, dtype: D, device: Device = "cpu"): Tensor<D> {
  return Tensor.from([...x.values], x.shape, { dtype, device });
}

/** The values in logical order, as float64. */
export function valuesOf(x: Tensor): Float64Array {
  return Float64Array.from(x.dataSync() as Float64Array);
}

export function toPlain(x: Tensor): Plain {
  return { shape: x.shape, values: valuesOf(x) };
}

/** Largest |received - expected|, relative to the largest |expected| or 1 if that is larger. NaN must meet NaN, Inf Inf. */
export function largestError(received: Float64Array, expected: Float64Array): number {
  if (received.length !== expected.length) return Infinity;
  const scale = expected.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 1);
  return expected.reduce((worst, x, i) => {
    const y = received[i]!;
    if (Object.is(x, y) || x === y) return worst;
    if (!Number.isFinite(x) || !Number.isFinite(y)) return Infinity;
    return Math.max(worst, Math.abs(x - y) / scale);
  }, 0);
}

/** Fails at the first element that is further from `expected(i)` than `bound(i)`: an `expect` for each would take seconds. */
export function expectWithin(
  received: ArrayLike<number>,
  expected: (i: number) => number,
  bound: (i: number) => number,
): void {
  for (let i = 0; i < received.length; ++i) {
    const [x, y] = [received[i]!, expected(i)];
    if (!(Math.abs(x - y) <= bound(i)) && !Object.is(x, y))
      throw new Error(`element ${i} is ${x}, not within ${bound(i)} of ${y}`);
  }
}
