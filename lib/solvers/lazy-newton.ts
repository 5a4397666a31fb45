import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { cubicStep } from "./cubic-step.js";
import { type Eigen, eigh, times } from "./dense.js";
import { type Evaluator, isFinitePoint, type Point } from "./evaluator.js";
import { checkNumber, Run } from "./run.js";
import type { SecondOrderProblem, SolverOptions, SolverResult } from "./types.js";
import { dot, moved, norm } from "./vector.js";

/** What `lazyNewton` notes beside a point: of the step that led there (0, 0 at the start). */
export interface LazyNewtonTrace {
  /** M of the step. */
  readonly regularization: number;
  /** Iterations since the Hessian of the step was computed. */
  readonly hessianAge: number;
}

export interface LazyNewtonOptions extends SolverOptions<Float64Array, LazyNewtonTrace> {
  /** A Hessian is computed every so many iterations, >= 1; default 10. n is best in theory when it costs n gradients. */
  readonly hessianEvery?: number | undefined;
  /**
   * `cubic` (default): the step minimizes <g, d> + 1/2 <H d, d> + M/6 ||d||^3, whatever the signs of H. `quadratic`, for
   * convex f: d = -(H + sqrt(M ||g||) I)^-1 g.
   */
  readonly model?: "cubic" | "quadratic" | undefined;
  /** M, > 0, the same in every step, none of them tested. Default: found on the way, starting from 1. */
  readonly regularization?: number | undefined;
  /** Of the Hessian: sets M to 6 m L (cubic) or 3 m L (quadratic), m being `hessianEvery`. */
  readonly lipschitz?: number | undefined;
  /**
   * Converged when ||g|| is at most this and, by a fresh Hessian, its lowest eigenvalue at least -sqrt(M ||g||); default 1e-8.
   */
  readonly gradientTolerance?: number | undefined;
}

const MIN_REGULARIZATION = 1e-10;
/** Refused steps before a Hessian that is not fresh is computed again. */
const PATIENCE = 3;
const MAX_REFUSED = 100;

/** The Hessian of a phase. */
interface Phase extends Eigen {
  readonly hessian: Float64Array;
}

/**
 * Newton's method with a regularized model whose Hessian is computed every `hessianEvery` iterations only, with a fresh gradient
 * in each (Doikov, Chayti, Jaggi, "Second-order optimization with lazy Hessians", 2023). The cubic model needs no convexity and
 * leaves saddle points.
 *
 * Unless M is given, a step is taken only when f falls below its model; else M is doubled, and after 3 refusals with an old
 * Hessian a new one is computed. After a step M is halved.
 *
 * @param problem with `hessian`. A phase costs a Hessian and an eigendecomposition, a step a gradient and 4 n^2 flops.
 * @param x0 `[n]`, not changed.
 * @throws ArgumentError for options or callbacks of the wrong kind, ShapeError for a result of the wrong length. Everything
 *   else is a status; `notPositiveDefinite` only with the quadratic model.
 */
export async function lazyNewton(
  problem: SecondOrderProblem,
  x0: Float64Array,
  options: LazyNewtonOptions = {},
): Promise<SolverResult<Float64Array, LazyNewtonTrace>> {
  const fn = "lazyNewton";
  if (!problem.hessian) throw new ArgumentError(expected(fn, "hessian", "problem", problem));
  const { hessianEvery = 10, model = "cubic" } = options;
  checkInteger(fn, "hessianEvery", hessianEvery, 1, Number.MAX_SAFE_INTEGER);
  if (!["cubic", "quadratic"].includes(model)) {
    throw new ArgumentError(expected(fn, "cubic or quadratic", "model", model));
  }
  const tolerance = checkNumber(fn, "gradientTolerance", options.gradientTolerance ?? 1e-8, {
    min: 0,
  });
  const fixed = fixedRegularization(fn, options, hessianEvery, model);
  const run = new Run<Float64Array, LazyNewtonTrace>(fn, x0, options);
  return run.do(async () => {
    let m = fixed ?? 1;
    let point = await run.finitePoint(problem, run.start);
    run.note(point, 0, { regularization: 0, hessianAge: 0 });
    let phase = await newPhase(run, problem, point);
    for (let age = 0; ; age++) {
      const size = norm(point.gradient);
      if (age > 0 && (age >= hessianEvery || size <= tolerance)) {
        phase = await newPhase(run, problem, point);
        age = 0;
      }
      if (size <= tolerance && (phase.values[0] ?? 0) >= -Math.sqrt(m * size)) {
        run.converged(point, `the gradient's norm ${size} is at most ${tolerance}`);
      }
      run.nextIteration();
      for (let refused = 0; ; refused++) {
        if (age > 0 && refused === PATIENCE) {
          phase = await newPhase(run, problem, point);
          age = 0;
        }
        const { d, change } = minimizeModel(run, phase, point.gradient, m, model);
        const next = moved(point.x, 1, d);
        if (fixed !== undefined) {
          point = await run.finitePoint(problem, next);
        } else {
          const trial = await run.point(problem, next);
          if (!(isFinitePoint(trial) && trial.value <= point.value + change)) {
            if (refused === MAX_REFUSED) run.stop("stalled", "no step lowers f as its model says");
            m *= 2;
            continue;
          }
          point = trial;
        }
        run.note(point, norm(d), { regularization: m, hessianAge: age });
        if (fixed === undefined) m = Math.max(m / 2, MIN_REGULARIZATION);
        break;
      }
    }
  });
}

async function newPhase(
  run: Evaluator<Float64Array>,
  problem: SecondOrderProblem,
  { x }: Point<Float64Array>,
): Promise<Phase> {
  const hessian = await run.hessian(problem, x);
  const eigen = await eigh(hessian, x.length);
  return eigen ? { ...eigen, hessian } : run.stop("nonFinite", "the Hessian is too large");
}

function fixedRegularization(
  fn: string,
  { regularization, lipschitz }: LazyNewtonOptions,
  hessianEvery: number,
  model: "cubic" | "quadratic",
): number | undefined {
  if (regularization !== undefined && lipschitz !== undefined) {
    throw new ArgumentError(expected(fn, "one of regularization and lipschitz", "options", "both"));
  }
  const bounds = { min: 0, open: true };
  if (lipschitz === undefined) {
    return regularization === undefined
      ? undefined
      : checkNumber(fn, "regularization", regularization, bounds);
  }
  return (
    (model === "cubic" ? 6 : 3) * hessianEvery * checkNumber(fn, "lipschitz", lipschitz, bounds)
  );
}

/** The step that minimizes the model, and the model's change of f, not above 0. */
function minimizeModel(
  run: Evaluator<Float64Array>,
  { values, vectors, hessian }: Phase,
  gradient: Float64Array,
  m: number,
  model: "cubic" | "quadratic",
): { d: Float64Array; change: number } {
  const c = Float64Array.from(vectors, (vector) => dot(vector, gradient));
  const shift = Math.sqrt(m * norm(gradient));
  if (model === "quadratic" && !((values[0] ?? 0) + shift > 0)) {
    run.stop(
      "notPositiveDefinite",
      "the Hessian with its shift is not positive definite: f is not convex here, and the quadratic model needs it to be",
    );
  }
  const coordinates =
    model === "cubic"
      ? cubicStep(values, c, m).d
      : c.map((value, i) => -value / ((values[i] ?? 0) + shift));
  let d: Float64Array = new Float64Array(gradient.length);
  vectors.forEach((vector, i) => {
    d = moved(d, coordinates[i] ?? 0, vector);
  });
  const length = norm(d);
  const penalty = model === "cubic" ? (m / 6) * length ** 3 : (shift / 2) * length ** 2;
  return { d, change: dot(gradient, d) + dot(times(hessian, d), d) / 2 + penalty };
}
