/** Symmetric matrices of a given spectrum, and functions of them, in float64: A = Q diag(w) Q^T, Q a product of reflections. */
import type { Device } from "../../lib/binding/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { normal } from "./gptq-oracle.js";

export type Real = "float32" | "float64";
export const eps: Readonly<Record<Real, number>> = { float32: 2 ** -23, float64: 2 ** -52 };

/** `count` eigenvalues from 1 down to 1 / condition, evenly spaced in the logarithm. */
export function spectrum(n: number, condition: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => condition ** (n < 2 ? 0 : -i / (n - 1)));
}

/** Q diag(w) Q^T; the same seed gives the same Q. Row-major. */
export function withSpectrum(w: Float64Array, seed: number): Float64Array {
  const n = w.length;
  const a = new Float64Array(n * n);
  w.forEach((value, i) => (a[i * n + i] = value));
  const draw = normal(seed);
  for (let r = 0; r < Math.min(n, 24); ++r) {
    const v = Float64Array.from({ length: n }, draw);
    const length = Math.hypot(...v);
    const av = new Float64Array(n);
    for (let i = 0; i < n; ++i) {
      v[i]! /= length;
    }
    for (let i = 0; i < n; ++i) for (let j = 0; j < n; ++j) av[i]! += a[i * n + j]! * v[j]!;
    const vav = av.reduce((sum, x, i) => sum + x * v[i]!, 0);
    // (I - 2 v v^T) A (I - 2 v v^T), symmetric to the last bit.
    for (let i = 0; i < n; ++i) {
      for (let j = 0; j <= i; ++j) {
        const value =
          a[i * n + j]! - 2 * (v[i]! * av[j]! + av[i]! * v[j]!) + 4 * vav * v[i]! * v[j]!;
        a[i * n + j] = a[j * n + i] = value;
      }
    }
  }
  return a;
}

/** C = A B for row-major matrices [m, k] and [k, n]. */
export function multiply(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  m: number,
  k: number,
  n: number,
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; ++i)
    for (let p = 0; p < k; ++p) {
      const x = a[i * k + p]!;
      for (let j = 0; j < n; ++j) c[i * n + j]! += x * b[p * n + j]!;
    }
  return c;
}

export function transpose(a: ArrayLike<number>, rows: number, columns: number): Float64Array {
  return Float64Array.from(
    { length: rows * columns },
    (_, at) => a[(at % rows) * columns + Math.floor(at / rows)]!,
  );
}

export function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, at) => Number(at % (n + 1) === 0));
}

/** The largest |a_i - b_i|; NaN when there is one. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let worst = 0;
  for (let i = 0; i < a.length; ++i) worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
  return a.length === b.length ? worst : NaN;
}

export function largest(a: ArrayLike<number>): number {
  return Array.from(a).reduce((worst, x) => Math.max(worst, Math.abs(x)), 0);
}

/** |A - B|_F. */
export function frobenius(a: ArrayLike<number>, b?: ArrayLike<number>): number {
  return Math.sqrt(Array.from(a).reduce((sum, x, i) => sum + (x - (b?.[i] ?? 0)) ** 2, 0));
}

export function tensorOf<D extends Real>(
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: D,
  device: Device,
): Tensor<D> {
  return Tensor.from(Array.from(values), shape, { dtype, device });
}

export async function valuesOf(x: Tensor): Promise<Float64Array> {
  return Float64Array.from((await x.data()) as Float32Array | Float64Array);
}
