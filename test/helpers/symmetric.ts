import { numbers } from "./flat-data.js";

/** Symmetric `[n, n]` with the eigenvalues given: Q diag Q^T, Q a product of reflections, so that nothing commutes. */
export function withSpectrum(eigenvalues: readonly number[], seed = 1): Float64Array {
  const n = eigenvalues.length;
  const draw = numbers(seed);
  const A = new Float64Array(n * n);
  eigenvalues.forEach((value, i) => (A[i * n + i] = value));
  for (let reflection = 0; reflection < 3; ++reflection) {
    const u = Array.from({ length: n }, draw);
    const square = u.reduce((sum, x) => sum + x * x, 0);
    // A <- H A H with H = I - 2 u u^T / u^T u.
    for (const [across, along] of [
      [1, n],
      [n, 1],
    ] as const) {
      for (let i = 0; i < n; ++i) {
        let dot = 0;
        for (let j = 0; j < n; ++j) dot += u[j]! * A[i * across + j * along]!;
        for (let j = 0; j < n; ++j) A[i * across + j * along]! -= (2 * dot * u[j]!) / square;
      }
    }
  }
  for (let i = 0; i < n; ++i) for (let j = 0; j < i; ++j) A[i * n + j] = A[j * n + i]!;
  return A;
}

/** A x in float64. */
export function times(A: ArrayLike<number>, x: ArrayLike<number>): Float64Array {
  const n = x.length;
  return Float64Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < n; ++j) sum += A[i * n + j]! * x[j]!;
    return sum;
  });
}

export function norm(x: ArrayLike<number>): number {
  return Math.hypot(...Array.from(x));
}

/** The solution of A x = b by Gaussian elimination with row exchanges. */
export function eliminate(A: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const n = b.length;
  const rows = Array.from({ length: n }, (_, i) => [
    ...Array.from({ length: n }, (_, j) => A[i * n + j]!),
    b[i]!,
  ]);
  for (let k = 0; k < n; ++k) {
    let pivot = k;
    for (let i = k; i < n; ++i) if (Math.abs(rows[i]![k]!) > Math.abs(rows[pivot]![k]!)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = 0; i < n; ++i) {
      if (i === k) continue;
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; ++j) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  return Float64Array.from(rows, (row, i) => row[n]! / row[i]!);
}
