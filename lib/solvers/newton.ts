import { ArgumentError, expected } from "../errors.js";
import { goldenSection } from "./line-search.js";
import { type NewtonStep, stepSize } from "./newton-steps.js";
import { newtonSystem, type NewtonSystem } from "./newton-system.js";
import { type Evaluator, isFinitePoint, type Point } from "./evaluator.js";
import { checkNumber, Run } from "./run.js";
import type { SecondOrderProblem, SolverOptions, SolverResult } from "./types.js";
import { dot, moved, norm } from "./vector.js";

/** What `newton` notes beside a point: of the step that led there (NaN, 0, 0 at the start). */
export interface NewtonTrace {
  /** The Newton decrement sqrt(<g, H^-1 g>) before the step. */
  readonly decrement: number;
  /** a in `x <- x - a H^-1 g`. */
  readonly stepSize: number;
  /** Added to the Hessian's diagonal to factor it. */
  readonly jitter: number;
}

export interface NewtonOptions extends SolverOptions<Float64Array, NewtonTrace> {
  /** Default `{ rule: "un" }`. */
  readonly step?: NewtonStep | undefined;
  /** Converged when the Newton decrement is below; default 1e-8. */
  readonly tolerance?: number | undefined;
}

type Step = (
  x: Point<Float64Array>,
  d: Float64Array,
  decrement: number,
  system: NewtonSystem,
) => Promise<Taken>;
interface Taken {
  readonly stepSize: number;
  readonly point: Point<Float64Array>;
}

const MIN_SIGMA = 1e-5;
const MAX_TRIALS = 41;

/**
 * Newton's method with an explicit step size, `x <- x - a H^-1 g`, for convex f. See `NewtonStep` for the rules; all but
 * `gradReg` take the same steps in any linear coordinates.
 *
 * @param problem with `hessian` (factored: n^3 / 3 flops an iteration) or `hvp` (conjugate gradients to a relative residual
 *   of min(0.1, sqrt(decrement))).
 * @param x0 `[n]`, not changed.
 * @returns status `converged` when the decrement is below `tolerance`; `notPositiveDefinite` where f is not convex (nothing
 *   else is tried in its place).
 * @throws ArgumentError for options or callbacks of the wrong kind, ShapeError for a result of the wrong length. Everything
 *   else is a status.
 */
export async function newton(
  problem: SecondOrderProblem,
  x0: Float64Array,
  options: NewtonOptions = {},
): Promise<SolverResult<Float64Array, NewtonTrace>> {
  const fn = "newton";
  if (!problem.hessian && !problem.hvp) {
    throw new ArgumentError(expected(fn, "hessian or hvp", "problem", problem));
  }
  const { step = { rule: "un" } } = options;
  const tolerance = checkNumber(fn, "tolerance", options.tolerance ?? 1e-8, { min: 0 });
  const run = new Run<Float64Array, NewtonTrace>(fn, x0, options);
  const take = stepper(fn, run, problem, step);
  return run.do(async () => {
    let point = await run.finitePoint(problem, run.start);
    let decrement = Infinity;
    run.note(point, 0, { decrement: NaN, stepSize: 0, jitter: 0 });
    for (;;) {
      const shift =
        step.rule === "gradReg" ? Math.sqrt((step.lipschitz ?? 1) * norm(point.gradient)) : 0;
      const accuracy = Math.min(0.1, Math.sqrt(decrement));
      const system = await newtonSystem(run, problem, point, { shift, tolerance: accuracy });
      const d = await system.solve(point.gradient);
      run.requireFinite("Newton's direction", d);
      // <g, d> can only be negative by round-off.
      decrement = Math.sqrt(Math.max(0, dot(point.gradient, d)));
      if (decrement < tolerance || decrement === 0) {
        run.converged(point, `the Newton decrement ${decrement} is below ${tolerance}`);
      }
      run.nextIteration();
      const { point: next, stepSize } = await take(point, d, decrement, system);
      point = next;
      run.note(point, stepSize * norm(d), { decrement, stepSize, jitter: system.jitter });
    }
  });
}

function stepper(
  fn: string,
  run: Evaluator<Float64Array>,
  problem: SecondOrderProblem,
  step: NewtonStep,
): Step {
  const explicit = stepSize(fn, step);
  if (explicit) {
    return async ({ x }, d, decrement) => {
      const size = explicit(decrement);
      return { stepSize: size, point: await run.finitePoint(problem, moved(x, -size, d)) };
    };
  }
  if (step.rule === "grls") return greedy(run, problem);
  if (step.rule === "un") return universal(fn, run, problem, step);
  throw new ArgumentError(
    expected(fn, "classic, aicn, rn, mn, grls, un or gradReg", "step.rule", step.rule),
  );
}

function greedy(run: Evaluator<Float64Array>, problem: SecondOrderProblem): Step {
  return async ({ x, value }, d) => {
    const f = async (a: number) => {
      const found = await run.value(problem, moved(x, -a, d));
      return Number.isFinite(found) ? found : Infinity;
    };
    const inside = await goldenSection(f, 0, 1, 40);
    const full = await f(1);
    const [size, lowest] = full <= inside.value ? [1, full] : [inside.t, inside.value];
    if (!(lowest < value)) run.stop("stalled", "no step along Newton's direction lowers f");
    return { stepSize: size, point: await run.finitePoint(problem, moved(x, -size, d)) };
  };
}

function universal(
  fn: string,
  run: Evaluator<Float64Array>,
  problem: SecondOrderProblem,
  step: NewtonStep & { rule: "un" },
): Step {
  let sigma = checkNumber(fn, "sigma", step.sigma ?? 1, { min: 0, open: true });
  const growth = checkNumber(fn, "growth", step.growth ?? 4, { min: 1, open: true });
  const shrink = checkNumber(fn, "shrink", step.shrink ?? 4, { min: 1 });
  const exponent = checkNumber(fn, "exponent", step.exponent ?? 2 / 3, { min: 0, max: 1 });
  return async ({ x }, d, decrement, system) => {
    for (let trial = 0; trial < MAX_TRIALS; trial++) {
      const s = sigma * decrement ** exponent;
      const size = 1 / (1 + s);
      const point = await run.point(problem, moved(x, -size, d));
      if (isFinitePoint(point)) {
        const square = dot(point.gradient, await system.solve(point.gradient));
        if (size * dot(point.gradient, d) >= square / (4 * s)) {
          sigma = Math.max(sigma / shrink, MIN_SIGMA);
          return { stepSize: size, point };
        }
      }
      sigma *= growth;
    }
    return run.stop(
      "stalled",
      `no step along Newton's direction was accepted in ${MAX_TRIALS} trials`,
    );
  };
}
