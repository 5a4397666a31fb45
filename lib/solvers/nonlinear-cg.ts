import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { descender, type LineSearch } from "./descend.js";
import { type Arithmetic, arithmetic, type Precision, rounded } from "./precision.js";
import { checkNumber, Run } from "./run.js";
import type { SecondOrderProblem, SolverOptions, SolverResult, Vector } from "./types.js";
import { moved, norm, scaled } from "./vector.js";

/**
 * beta in `d <- -g' + beta d`, with y = g' - g:
 * - `PR`: max(0, <g', y> / <g, g>) (Polak, Ribiere, 1969; the maximum: Powell, 1986), the default.
 * - `FR`: <g', g'> / <g, g> (Fletcher, Reeves, 1964).
 * - `HS`: <g', y> / <d, y> (Hestenes, Stiefel, 1952).
 * - `DY`: <g', g'> / <d, y> (Dai, Yuan, 1999).
 */
export type CgRule = "PR" | "FR" | "HS" | "DY";

/** What `nonlinearCG` notes beside a point: of the step that led there (0, 0 at the start). */
export interface NonlinearCgTrace {
  /** t in x + t d. */
  readonly stepSize: number;
  /** 0: steepest descent. */
  readonly beta: number;
}

export interface NonlinearCgOptions<V extends Vector> extends SolverOptions<V, NonlinearCgTrace> {
  readonly rule?: CgRule | undefined;
  /** Default `float64` for a Float64Array, `mixed` for a Float32Array, which may also be `float32`. */
  readonly precision?: Precision | undefined;
  readonly lineSearch?: LineSearch | undefined;
  /** Steepest descent every so many iterations; default n. */
  readonly restartEvery?: number | undefined;
  /** Converged when ||g|| is at most this; default 1e-6. */
  readonly gradientTolerance?: number | undefined;
}

/**
 * Nonlinear conjugate gradients with a strong Wolfe line search (c1 = 1e-4, c2 = 0.1), in float64 or float32. The first step
 * tried is 1/||g||, later the last one times the ratio of the slopes. Steepest descent is taken again every `restartEvery`
 * iterations, where successive gradients are not orthogonal (<g', g> > 0.2 <g', g'>; Powell, 1977), and where d does not lead
 * down. Where the line search finds nothing steepest descent is tried once; a second failure is `stalled`, as a rule the floor
 * of the precision.
 *
 * @param problem `hvp` only for the exact line search.
 * @param x0 `[n]`, not changed; its kind is that of every vector. Memory: 4 n numbers.
 * @throws ArgumentError for options or callbacks of the wrong kind, ShapeError for a result of the wrong length. Everything
 *   else is a status.
 */
export async function nonlinearCG<V extends Vector>(
  problem: SecondOrderProblem<V>,
  x0: V,
  options: NonlinearCgOptions<V> = {},
): Promise<SolverResult<V, NonlinearCgTrace>> {
  const fn = "nonlinearCG";
  const { rule = "PR", lineSearch = "strongWolfe" } = options;
  const { precision = x0 instanceof Float32Array ? "mixed" : "float64" } = options;
  if (!["float64", "mixed", "float32"].includes(precision)) {
    throw new ArgumentError(expected(fn, "float64, mixed or float32", "precision", precision));
  }
  if (!["PR", "FR", "HS", "DY"].includes(rule)) {
    throw new ArgumentError(expected(fn, "PR, FR, HS or DY", "rule", rule));
  }
  const tolerance = checkNumber(fn, "gradientTolerance", options.gradientTolerance ?? 1e-6, {
    min: 0,
  });
  const sums = arithmetic[precision];
  const run = new Run<V, NonlinearCgTrace>(fn, x0, options, sums.vectors);
  const { restartEvery = run.start.length } = options;
  checkInteger(fn, "restartEvery", restartEvery, 1, Number.MAX_SAFE_INTEGER);
  const f = rounded(problem, sums);
  const descend = descender(run, f, { lineSearch, c1: 1e-4, c2: 0.1, arithmetic: sums });

  return run.do(async () => {
    let point = await run.finitePoint(f, run.start);
    run.note(point, 0, { stepSize: 0, beta: 0 });
    let d = scaled(-1, point.gradient);
    let beta = 0;
    let first = 1 / norm(point.gradient);
    for (let sinceRestart = 0; ; sinceRestart++) {
      const { gradient } = point;
      const size = norm(gradient);
      if (size <= tolerance) {
        run.converged(point, `the gradient's norm ${size} is at most ${tolerance}`);
      }
      run.nextIteration();
      const slope = sums.dot(gradient, d);
      let lower = slope < 0 ? await descend(point, d, first) : undefined;
      if (!lower && beta !== 0) {
        [d, beta, sinceRestart] = [scaled(-1, gradient), 0, 0];
        lower = await descend(point, d, 1 / size);
      }
      const found = lower ?? run.stop("stalled", "no step along the negative gradient lowers f");
      run.note(found, found.t * norm(d), { stepSize: found.t, beta });

      const restart = sinceRestart + 1 >= restartEvery;
      beta = restart ? 0 : nextBeta(rule, gradient, found.gradient, d, sums);
      if (beta === 0) sinceRestart = -1;
      const downhill = sums.dot(gradient, d);
      d = moved(scaled(-1, found.gradient), beta, d);
      first = (found.t * downhill) / sums.dot(found.gradient, d);
      if (!(first > 0 && first < Infinity)) first = 1 / norm(found.gradient);
      point = found;
    }
  });
}

/** 0 where the method starts anew. */
function nextBeta<V extends Vector>(
  rule: CgRule,
  before: V,
  after: V,
  d: V,
  { dot, round }: Arithmetic,
): number {
  const square = dot(after, after);
  if (dot(after, before) > 0.2 * square) return 0;
  const y = moved(after, -1, before);
  const above = rule === "FR" || rule === "DY" ? square : dot(after, y);
  const below = rule === "FR" || rule === "PR" ? dot(before, before) : dot(d, y);
  const beta = round(above / below);
  return Number.isFinite(beta) ? Math.max(0, beta) : 0;
}
