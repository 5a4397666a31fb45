import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { times } from "./dense.js";
import { checkNumber, Run } from "./run.js";
import { steihaug, type SteihaugEnd } from "./steihaug.js";
import type { SecondOrderProblem, SolverOptions, SolverResult } from "./types.js";
import { moved, norm } from "./vector.js";

/** What `trustRegion` notes beside a point: of the step that led there or was refused. */
export interface TrustRegionTrace {
  /** The bound on the step (at the start: on the first). */
  readonly radius: number;
  /** Decrease of f as a part of the model's; NaN at the start. */
  readonly ratio: number;
  readonly accepted: boolean;
  readonly cgIterations: number;
  readonly end: SteihaugEnd | "start";
}

export interface TrustRegionOptions extends SolverOptions<Float64Array, TrustRegionTrace> {
  /** > 0; default 1. */
  readonly radius?: number | undefined;
  /** >= radius; default 100. */
  readonly maxRadius?: number | undefined;
  /** A step is taken when the ratio is above, from 0 to 1/4; default 0.1. */
  readonly eta?: number | undefined;
  /** Default min(n, 100). Without reorthogonalization more iterations gain little. */
  readonly maxCgIterations?: number | undefined;
  /** Converged when ||g|| is at most this; default 1e-6. */
  readonly gradientTolerance?: number | undefined;
}

/**
 * Newton's method in a trust region, the step by truncated conjugate gradients (Steihaug, 1983; Nocedal, Wright, Numerical
 * Optimization, algorithms 4.1 and 7.2). f need not be convex: directions of negative curvature are followed to the boundary.
 * Below a ratio of 1/4 the radius becomes a quarter of the step, above 3/4 on the boundary it is doubled. Conjugate gradients
 * stop at a residual of min(0.5, sqrt ||g||) ||g||. A run that starts at a saddle, where g = 0, ends there.
 *
 * @param problem with `hvp`, or `hessian`.
 * @param x0 `[n]`, not changed.
 * @throws ArgumentError for options or callbacks of the wrong kind, ShapeError for a result of the wrong length. Everything
 *   else is a status.
 */
export async function trustRegion(
  problem: SecondOrderProblem,
  x0: Float64Array,
  options: TrustRegionOptions = {},
): Promise<SolverResult<Float64Array, TrustRegionTrace>> {
  const fn = "trustRegion";
  if (!problem.hessian && !problem.hvp) {
    throw new ArgumentError(expected(fn, "hvp or hessian", "problem", problem));
  }
  const first = checkNumber(fn, "radius", options.radius ?? 1, { min: 0, open: true });
  const largest = checkNumber(fn, "maxRadius", options.maxRadius ?? Math.max(100, first), {
    min: first,
  });
  const eta = checkNumber(fn, "eta", options.eta ?? 0.1, { min: 0, max: 0.25 });
  const tolerance = checkNumber(fn, "gradientTolerance", options.gradientTolerance ?? 1e-6, {
    min: 0,
  });
  const run = new Run<Float64Array, TrustRegionTrace>(fn, x0, options);
  const { maxCgIterations = Math.min(run.start.length, 100) } = options;
  checkInteger(fn, "maxCgIterations", maxCgIterations, 1, Number.MAX_SAFE_INTEGER);

  return run.do(async () => {
    let radius = first;
    let point = await run.finitePoint(problem, run.start);
    run.note(point, 0, { radius, ratio: NaN, accepted: false, cgIterations: 0, end: "start" });
    for (;;) {
      const size = norm(point.gradient);
      if (size <= tolerance) {
        run.converged(point, `the gradient's norm ${size} is at most ${tolerance}`);
      }
      run.nextIteration();
      const { x } = point;
      const hessian = problem.hvp ? undefined : await run.hessian(problem, x);
      const { z, change, iterations, end } = await steihaug(
        async (v) => (hessian ? times(hessian, v) : run.hvp(problem, x, v)),
        point.gradient,
        {
          radius,
          tolerance: Math.min(0.5, Math.sqrt(size)) * size,
          maxIterations: maxCgIterations,
        },
      );
      const next = moved(x, 1, z);
      if (next.every((value, i) => value === x[i]))
        run.stop("stalled", `the radius ${radius} moves nothing`);
      const value = await run.value(problem, next);
      const ratio = ratioOf(point.value, value, change);
      const accepted = ratio > eta;
      const noted = { radius, ratio, accepted, cgIterations: iterations, end };
      if (ratio < 0.25) radius = norm(z) / 4;
      else if (ratio > 0.75 && end !== "converged" && end !== "iterations") {
        radius = Math.min(2 * radius, largest);
      }
      if (accepted) point = await run.finitePoint(problem, next);
      run.note(point, accepted ? norm(z) : 0, noted);
    }
  });
}

/** The decrease of f by that of the model; 1 where both are lost in rounding, -1 outside the domain. */
function ratioOf(before: number, after: number, change: number): number {
  if (!Number.isFinite(after)) return -1;
  if (-change <= 10 * Number.EPSILON * Math.abs(before)) return 1;
  return (after - before) / change;
}
