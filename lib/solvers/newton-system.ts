import { conjugateGradient } from "./conjugate-gradient.js";
import { CholeskyFactor } from "./dense.js";
import type { Evaluator, Point } from "./evaluator.js";
import type { SecondOrderProblem } from "./types.js";
import { moved } from "./vector.js";

/** Solves with the Hessian of one point. */
export interface NewtonSystem {
  /** What was added to the diagonal to factor a Hessian that round-off left indefinite. */
  readonly jitter: number;
  solve(b: Float64Array): Promise<Float64Array>;
}

/** Times the mean of the diagonal. */
const JITTERS = [0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4];

/**
 * `H + shift I` at a point: factored where the problem gives the whole Hessian, else by conjugate gradients on its products.
 * Ends the run when it is not positive definite.
 *
 * @param tolerance of conjugate gradients, relative to the right-hand side.
 */
export async function newtonSystem(
  run: Evaluator<Float64Array>,
  problem: SecondOrderProblem,
  { x }: Point<Float64Array>,
  { shift, tolerance }: { shift: number; tolerance: number },
): Promise<NewtonSystem> {
  const n = x.length;
  const indefinite = (how: string): never =>
    run.stop(
      "notPositiveDefinite",
      `the Hessian is not positive definite: ${how}. f is not convex here; lazyNewton and trustRegion do not need it to be`,
    );
  if (!problem.hessian) {
    const product = async (v: Float64Array) => moved(await run.hvp(problem, x, v), shift, v);
    return {
      jitter: 0,
      solve: async (b) => {
        const { x: solution, negativeCurvature } = await conjugateGradient(product, b, {
          tolerance,
          maxIterations: 10 * n,
        });
        return negativeCurvature
          ? indefinite("conjugate gradients met negative curvature")
          : solution;
      },
    };
  }
  const hessian = await run.hessian(problem, x);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += hessian[i * n + i] ?? 0;
  for (const part of trace > 0 ? JITTERS : [0]) {
    const jitter = (part * trace) / n;
    const factor = await CholeskyFactor.of(hessian, n, shift + jitter);
    if (factor) return { jitter, solve: async (b) => Promise.resolve(factor.solve(b)) };
  }
  return indefinite("its Cholesky factorization failed");
}
