/** Small symmetric matrices in float64, row-major, in slices that let the event loop run. */
import { TimeSlice } from "../io/event-loop.js";
import { dot, norm } from "./vector.js";

/** A Cholesky factor L, lower triangular. */
export class CholeskyFactor {
  readonly #rows: readonly Float64Array[];

  private constructor(rows: readonly Float64Array[]) {
    this.#rows = rows;
  }

  /**
   * Factors `matrix + shift I`, `[n, n]`, of which the lower triangle is read. n^3 / 3 flops.
   *
   * @returns undefined when a leading minor is not positive.
   */
  static async of(matrix: Float64Array, n: number, shift = 0): Promise<CholeskyFactor | undefined> {
    const slice = new TimeSlice();
    const rows: Float64Array[] = [];
    for (let i = 0; i < n; i++) {
      const row = matrix.slice(i * n, i * n + i + 1);
      for (let j = 0; j < i; j++) {
        const other = rows[j] ?? row;
        let sum = row[j] ?? 0;
        for (let k = 0; k < j; k++) sum -= (row[k] ?? 0) * (other[k] ?? 0);
        row[j] = sum / (other[j] ?? 0);
      }
      let pivot = (row[i] ?? 0) + shift;
      for (let k = 0; k < i; k++) pivot -= (row[k] ?? 0) ** 2;
      // A pivot that is NaN is not positive either.
      if (!(pivot > 0 && pivot < Infinity)) return undefined;
      row[i] = Math.sqrt(pivot);
      rows.push(row);
      if (slice.due()) await slice.pause("cholesky");
    }
    return new CholeskyFactor(rows);
  }

  /** The x of `L L^T x = b`. 2 n^2 flops. */
  solve(b: ArrayLike<number>): Float64Array {
    const x = Float64Array.from(b);
    this.#rows.forEach((row, i) => {
      let sum = x[i] ?? 0;
      for (let k = 0; k < i; k++) sum -= (row[k] ?? 0) * (x[k] ?? 0);
      x[i] = sum / (row[i] ?? 0);
    });
    for (let i = x.length - 1; i >= 0; i--) {
      const row = this.#rows[i];
      const value = (x[i] ?? 0) / (row?.[i] ?? 0);
      x[i] = value;
      for (let k = 0; k < i; k++) x[k] = (x[k] ?? 0) - (row?.[k] ?? 0) * value;
    }
    return x;
  }
}

/** `matrix = sum_i values[i] vectors[i] vectors[i]^T`. */
export interface Eigen {
  /** Ascending. */
  readonly values: Float64Array;
  /** Of length one, orthogonal; those of `values` in their order. */
  readonly vectors: readonly Float64Array[];
}

const MAX_SWEEPS = 60;

/**
 * All eigenvalues and eigenvectors of a symmetric matrix `[n, n]` by cyclic Jacobi rotations (Golub, Van Loan, section 8.5):
 * some 6 to 10 sweeps of 4 n^3 flops each. Errors of values are within a small multiple of n eps ||matrix||.
 *
 * @returns undefined when it did not converge, which takes a NaN or Infinity.
 */
export async function eigh(matrix: Float64Array, n: number): Promise<Eigen | undefined> {
  const slice = new TimeSlice();
  const a = Array.from({ length: n }, (_, i) => matrix.slice(i * n, (i + 1) * n));
  const v = Array.from({ length: n }, (_, i) => new Float64Array(n).fill(1, i, i + 1));
  const negligible = Number.EPSILON * norm(matrix);
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let largest = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const off = Math.abs(a[p]?.[q] ?? 0);
        if (off > largest) largest = off;
        if (off > negligible / n) rotate(a, v, p, q);
      }
      if (slice.due()) await slice.pause("eigh");
    }
    if (largest <= negligible / n) return sorted(a, v);
  }
  return undefined;
}

/** Makes a[p][q] zero by a rotation of axes p and q. */
function rotate(
  a: readonly Float64Array[],
  v: readonly Float64Array[],
  p: number,
  q: number,
): void {
  const [rowP, rowQ] = [a[p], a[q]];
  if (!rowP || !rowQ) return;
  const theta = ((rowQ[q] ?? 0) - (rowP[p] ?? 0)) / (2 * (rowP[q] ?? 0));
  const tangent = Math.sign(theta || 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const cosine = 1 / Math.hypot(tangent, 1);
  const sine = tangent * cosine;
  for (const row of a) turn(row, row, p, q, cosine, sine);
  for (let k = 0; k < rowP.length; k++) turn(rowP, rowQ, k, k, cosine, sine);
  const [vectorP, vectorQ] = [v[p], v[q]];
  if (!vectorP || !vectorQ) return;
  for (let k = 0; k < vectorP.length; k++) turn(vectorP, vectorQ, k, k, cosine, sine);
}

function turn(x: Float64Array, y: Float64Array, i: number, j: number, c: number, s: number): void {
  const [left, right] = [x[i] ?? 0, y[j] ?? 0];
  x[i] = c * left - s * right;
  y[j] = s * left + c * right;
}

function sorted(a: readonly Float64Array[], v: readonly Float64Array[]): Eigen {
  const values = Float64Array.from(a, (row, i) => row[i] ?? 0);
  const order = [...values.keys()].sort((i, j) => (values[i] ?? 0) - (values[j] ?? 0));
  return {
    values: values.map((_, i) => values[order[i] ?? 0] ?? 0),
    vectors: order.map((i) => v[i] ?? new Float64Array()),
  };
}

/** The product of a matrix `[n, n]` with a vector. */
export function times(matrix: Float64Array, x: ArrayLike<number>): Float64Array {
  const n = x.length;
  return Float64Array.from({ length: n }, (_, i) => dot(matrix.subarray(i * n, (i + 1) * n), x));
}
