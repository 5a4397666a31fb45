import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { descender, type LineSearch } from "./descend.js";
import { type CurvatureRule, LbfgsMemory } from "./lbfgs-memory.js";
import { checkNumber, Run } from "./run.js";
import type { SecondOrderProblem, SolverOptions, SolverResult } from "./types.js";
import { dot, moved, norm, scaled } from "./vector.js";

/** What `lbfgs` notes beside a point: of the step that led there (0, 0, 0 at the start). */
export interface LbfgsTrace {
  /** t in x + t d. */
  readonly stepSize: number;
  /** Pairs in memory when the direction was made; 0: steepest descent. */
  readonly pairs: number;
}

export interface LbfgsOptions extends SolverOptions<Float64Array, LbfgsTrace> {
  /** Pairs remembered, >= 1; default 10. */
  readonly history?: number | undefined;
  /** For pairs without enough curvature: leave them out (`skip`, the default) or Powell's damping (`damp`). */
  readonly curvature?: CurvatureRule | undefined;
  readonly lineSearch?: LineSearch | undefined;
  /** Converged when ||g|| is at most this; default 1e-6. */
  readonly gradientTolerance?: number | undefined;
}

/**
 * L-BFGS (Liu, Nocedal, 1989) with a strong Wolfe line search (c1 = 1e-4, c2 = 0.9). The first step tried is min(1, 1/||g||_1),
 * later 1. Where the line search finds nothing the memory is cleared and steepest descent tried once; a second failure is
 * `stalled`.
 *
 * @param problem `hvp` only for the exact line search.
 * @param x0 `[n]`, not changed. Memory: 2 h n numbers.
 * @throws ArgumentError for options or callbacks of the wrong kind, ShapeError for a result of the wrong length. Everything
 *   else is a status.
 */
export async function lbfgs(
  problem: SecondOrderProblem,
  x0: Float64Array,
  options: LbfgsOptions = {},
): Promise<SolverResult<Float64Array, LbfgsTrace>> {
  const fn = "lbfgs";
  const { history = 10, curvature = "skip", lineSearch = "strongWolfe" } = options;
  checkInteger(fn, "history", history, 1, Number.MAX_SAFE_INTEGER);
  if (!["skip", "damp"].includes(curvature)) {
    throw new ArgumentError(expected(fn, "skip or damp", "curvature", curvature));
  }
  const tolerance = checkNumber(fn, "gradientTolerance", options.gradientTolerance ?? 1e-6, {
    min: 0,
  });
  const run = new Run<Float64Array, LbfgsTrace>(fn, x0, options);
  const descend = descender(run, problem, { lineSearch, c1: 1e-4, c2: 0.9 });
  const memory = new LbfgsMemory(history, curvature);

  return run.do(async () => {
    let point = await run.finitePoint(problem, run.start);
    run.note(point, 0, { stepSize: 0, pairs: 0 });
    for (;;) {
      const { gradient } = point;
      const size = norm(gradient);
      if (size <= tolerance) {
        run.converged(point, `the gradient's norm ${size} is at most ${tolerance}`);
      }
      run.nextIteration();
      let d = scaled(-1, memory.times(gradient));
      // Round-off, or a Hessian that changed its mind.
      if (!(dot(d, gradient) < 0)) {
        memory.clear();
        d = scaled(-1, gradient);
      }
      const steepest = Math.min(1, 1 / gradient.reduce((sum, value) => sum + Math.abs(value), 0));
      let pairs = memory.size;
      let lower = await descend(point, d, pairs === 0 ? steepest : 1);
      if (!lower && pairs > 0) {
        memory.clear();
        pairs = 0;
        d = scaled(-1, gradient);
        lower = await descend(point, d, steepest);
      }
      const found = lower ?? run.stop("stalled", "no step along the negative gradient lowers f");
      memory.add(moved(found.x, -1, point.x), moved(found.gradient, -1, gradient));
      run.note(found, found.t * norm(d), { stepSize: found.t, pairs });
      point = found;
    }
  });
}
