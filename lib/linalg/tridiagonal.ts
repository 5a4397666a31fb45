import { NumericalError } from "../errors.js";

export interface TridiagonalEigen {
  /** Ascending. */
  readonly values: Float64Array;
  /** Column k, that is `vectors[i * n + k]`, belongs to value k; orthonormal. */
  readonly vectors: Float64Array;
}

/**
 * Eigenvalues and eigenvectors of a symmetric tridiagonal matrix: QR steps with Wilkinson's shift, deflated from the end.
 *
 * @param diagonal `[n]`. @param off `[n - 1]`, beside it.
 * @throws NumericalError `NOT_CONVERGED` (never seen), `NON_FINITE`
 * Cost: about 6 n^3 flops. Source: Golub and Van Loan, Matrix Computations, 8.3.
 */
export function tridiagonalEigen(
  diagonal: ArrayLike<number>,
  off: ArrayLike<number>,
): TridiagonalEigen {
  const fn = "tridiagonalEigen";
  const n = diagonal.length;
  const d = Float64Array.from(diagonal);
  const e = Float64Array.from({ length: Math.max(n - 1, 0) }, (_, i) => off[i] ?? 0);
  if (![...d, ...e].every(Number.isFinite))
    throw new NumericalError("NON_FINITE", `${fn}: the matrix is not finite`);
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; ++i) vectors[i * n + i] = 1;
  const at = (x: Float64Array, i: number) => x[i] ?? 0;
  let high = n - 1;
  for (let steps = 0; high > 0; ++steps) {
    let low = high;
    while (low > 0) {
      const size = Math.abs(at(d, low - 1)) + Math.abs(at(d, low));
      if (Math.abs(at(e, low - 1)) <= Number.EPSILON * size) {
        e[low - 1] = 0;
        break;
      }
      --low;
    }
    if (low === high) {
      --high;
      continue;
    }
    if (steps > 60 * n) {
      throw new NumericalError("NOT_CONVERGED", `${fn}: no convergence after ${steps} steps`, {
        details: { iterations: steps, residual: Math.abs(at(e, high - 1)) },
      });
    }
    step(d, e, vectors, low, high);
  }
  const order = [...d.keys()].sort((i, j) => at(d, i) - at(d, j));
  return {
    values: Float64Array.from(order, (k) => at(d, k)),
    vectors: Float64Array.from(vectors, (_, i) => {
      const row = Math.floor(i / n);
      return at(vectors, row * n + (order[i - row * n] ?? 0));
    }),
  };
}

/** One implicit QR step on rows low to high: a bulge is chased down the diagonal by rotations. */
function step(
  d: Float64Array,
  e: Float64Array,
  vectors: Float64Array,
  low: number,
  high: number,
): void {
  const n = d.length;
  const at = (x: Float64Array, i: number) => x[i] ?? 0;
  // Wilkinson's shift: the eigenvalue of the last 2 x 2 block that is nearer to its last entry.
  const half = (at(d, high - 1) - at(d, high)) / 2;
  const last = at(e, high - 1);
  const root = Math.hypot(half, last);
  const shift = at(d, high) - (last * last) / (half + (half < 0 ? -root : root));
  let x = at(d, low) - shift;
  let z = at(e, low);
  for (let k = low; k < high; ++k) {
    const length = Math.hypot(x, z);
    const c = length === 0 ? 1 : x / length;
    const s = length === 0 ? 0 : z / length;
    if (k > low) e[k - 1] = length;
    const [a, b, f] = [at(d, k), at(d, k + 1), at(e, k)];
    d[k] = c * c * a + 2 * c * s * f + s * s * b;
    d[k + 1] = s * s * a - 2 * c * s * f + c * c * b;
    e[k] = c * s * (b - a) + (c * c - s * s) * f;
    x = at(e, k);
    if (k + 1 < high) {
      z = s * at(e, k + 1);
      e[k + 1] = c * at(e, k + 1);
    }
    for (let i = 0; i < n; ++i) {
      const [p, q] = [at(vectors, i * n + k), at(vectors, i * n + k + 1)];
      vectors[i * n + k] = c * p + s * q;
      vectors[i * n + k + 1] = c * q - s * p;
    }
  }
}
