/** Arithmetic on vectors, sums in float64. */
import type { Vector } from "./types.js";

const BLOCK = 128;

/** The sums of halves are added, down to blocks of 128: the error grows as log n. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>, from = 0, to = a.length): number {
  if (to - from > BLOCK) {
    const middle = from + ((to - from) >> 1);
    return dot(a, b, from, middle) + dot(a, b, middle, to);
  }
  let sum = 0;
  for (let i = from; i < to; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** The 2-norm, without overflow or underflow of the squares. */
export function norm(a: Vector): number {
  let largest = 0;
  for (const value of a) largest = Math.max(largest, Math.abs(value));
  if (largest === 0 || !Number.isFinite(largest)) return largest;
  let sum = 0;
  for (const value of a) sum += (value / largest) ** 2;
  return largest * Math.sqrt(sum);
}

/** x + t d, new. */
export function moved<V extends Vector>(x: V, t: number, d: ArrayLike<number>): V {
  const y = x.slice() as V;
  for (let i = 0; i < y.length; i++) y[i] = (x[i] ?? 0) + t * (d[i] ?? 0);
  return y;
}

/** t a, new. */
export function scaled<V extends Vector>(t: number, a: V): V {
  return a.map((value) => t * value) as V;
}
