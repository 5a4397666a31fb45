import { conjugateGradient } from "./conjugate-gradient.js";
import { CholeskyFactor } from "./dense.js";
import { DenseJacobian, type Jacobian } from "./jacobian.js";
import { dot, moved, scaled } from "./vector.js";

/**
 * How `(J^T J + mu D) d = -J^T r` is solved:
 * - `primal`: Cholesky factorization of the n x n matrix; n^3 / 3 flops, once more for each mu.
 * - `dual`: `(J D^-1 J^T + mu I) y = -r`, `d = D^-1 J^T y`: m^3 / 3 flops, for m < n.
 * - `cg`: conjugate gradients with products J^T (J v); D must be I.
 * - `auto`: `cg` without a whole Jacobian, else `dual` when m < n, else `primal`.
 */
export type DampedSolve = "auto" | "primal" | "dual" | "cg";

/** The step for a damping mu >= 0; undefined where the matrix is not positive definite. */
export type DampedStep = (mu: number) => Promise<Float64Array | undefined>;

export interface DampedSystem {
  readonly jacobian: Jacobian;
  readonly residuals: Float64Array;
  /** J^T r. */
  readonly gradient: Float64Array;
  /** D; undefined: I. */
  readonly weights: Float64Array | undefined;
}

export async function dampedStep(
  { jacobian, residuals, gradient, weights }: DampedSystem,
  solve: DampedSolve,
  cg: { tolerance: number; maxIterations: number },
): Promise<DampedStep> {
  const n = gradient.length;
  const m = residuals.length;
  if (solve === "cg" || !(jacobian instanceof DenseJacobian)) {
    return async (mu) => {
      const product = async (v: Float64Array) =>
        moved(await jacobian.transposedTimes(await jacobian.times(v)), mu, v);
      const { x, negativeCurvature } = await conjugateGradient(product, scaled(-1, gradient), cg);
      return negativeCurvature ? undefined : x;
    };
  }
  if (solve === "dual" || (solve === "auto" && m < n)) {
    const ones = new Float64Array(n).fill(1);
    const matrix = await jacobian.dual(weights ?? ones);
    return async (mu) => {
      const factor = await CholeskyFactor.of(matrix, m, mu);
      if (!factor) return undefined;
      const back = await jacobian.transposedTimes(factor.solve(scaled(-1, residuals)));
      return back.map((value, j) => value / (weights?.[j] ?? 1));
    };
  }
  const matrix = await jacobian.normal();
  return async (mu) => {
    const damped = matrix.slice();
    for (let j = 0; j < n; j++)
      damped[j * n + j] = (matrix[j * n + j] ?? 0) + mu * (weights?.[j] ?? 1);
    const factor = await CholeskyFactor.of(damped, n);
    return factor?.solve(scaled(-1, gradient));
  };
}

/** The decrease of 1/2 ||r||^2 that the linear model of r promises: -<g, d> - 1/2 ||J d||^2. */
export async function promisedDecrease(
  { jacobian, gradient }: DampedSystem,
  d: Float64Array,
): Promise<number> {
  const jd = await jacobian.times(d);
  return -dot(gradient, d) - dot(jd, jd) / 2;
}
