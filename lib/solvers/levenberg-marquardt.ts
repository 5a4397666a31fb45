import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import {
  type DampedSolve,
  dampedStep,
  type DampedSystem,
  promisedDecrease,
} from "./damped-step.js";
import type { Point } from "./evaluator.js";
import { DenseJacobian } from "./jacobian.js";
import { LeastSquares, type ResidualPoint } from "./least-squares.js";
import { checkNumber, Run } from "./run.js";
import type { LeastSquaresProblem, SolverOptions, SolverResult } from "./types.js";
import { moved, norm } from "./vector.js";

/** What `levenbergMarquardt` notes beside a point: of the step that led there or was refused. */
export interface LevenbergMarquardtTrace {
  /** mu. */
  readonly damping: number;
  /** Decrease of f as a part of that the linear model promised; NaN at the start and where there was no step. */
  readonly ratio: number;
  readonly accepted: boolean;
}

export interface LevenbergMarquardtOptions extends SolverOptions<
  Float64Array,
  LevenbergMarquardtTrace
> {
  /** The first mu, >= 0. Default 1e-3 times the largest entry of diag(J^T J); without a whole J, of ||J g||^2 / ||g||^2. */
  readonly damping?: number | undefined;
  /** Default true. Without it mu stays and every step is taken: with `damping: 0` the Gauss-Newton method. */
  readonly adaptive?: boolean | undefined;
  /** D: `identity` (default), or `diagonal`, that of J^T J with a floor of 1e-10 of its largest entry (Marquardt). */
  readonly scaling?: "identity" | "diagonal" | undefined;
  readonly solve?: DampedSolve | undefined;
  /** Relative residual of `cg`; default 1e-6. */
  readonly cgTolerance?: number | undefined;
  /** Default min(n, 200). */
  readonly maxCgIterations?: number | undefined;
  /** Converged when ||J^T r|| is at most this; default 1e-8. */
  readonly gradientTolerance?: number | undefined;
}

const LEAST_RATIO = 1e-4;
const FIRST_DAMPING = 1e-3;

/**
 * Minimizes 1/2 ||r(x)||^2 by steps `(J^T J + mu D) d = -J^T r` (Levenberg, 1944; Marquardt, 1963). A step is taken when f falls
 * by more than 1e-4 of what the linear model of r promises. mu falls to a third above 3/4 of it, and grows by 2, then 4, 8 ...
 * below 1/4 (Nielsen, 1999).
 *
 * J^T J squares the condition number: where residuals have to become very small, `dual` or a float64 problem is no luxury.
 *
 * @param problem with `jacobian`, or `jvp` and `vjp`.
 * @param x0 `[n]`, not changed.
 * @returns status `notPositiveDefinite` only without `adaptive`, where the matrix is singular.
 * @throws ArgumentError for options or callbacks of the wrong kind, ShapeError for a result of the wrong length. Everything
 *   else is a status.
 */
export async function levenbergMarquardt(
  problem: LeastSquaresProblem,
  x0: Float64Array,
  options: LevenbergMarquardtOptions = {},
): Promise<SolverResult<Float64Array, LevenbergMarquardtTrace>> {
  const fn = "levenbergMarquardt";
  const { adaptive = true, scaling = "identity", solve = "auto" } = options;
  checkProblem(fn, problem, solve, scaling);
  const tolerance = checkNumber(fn, "gradientTolerance", options.gradientTolerance ?? 1e-8, {
    min: 0,
  });
  const run = new Run<Float64Array, LevenbergMarquardtTrace>(fn, x0, options);
  const { maxCgIterations = Math.min(run.start.length, 200) } = options;
  checkInteger(fn, "maxCgIterations", maxCgIterations, 1, Number.MAX_SAFE_INTEGER);
  const cg = {
    tolerance: checkNumber(fn, "cgTolerance", options.cgTolerance ?? 1e-6, { min: 0, max: 1 }),
    maxIterations: maxCgIterations,
  };
  const squares = new LeastSquares(run, problem);
  const given =
    options.damping === undefined
      ? undefined
      : checkNumber(fn, "damping", options.damping, { min: 0 });

  const linearize = async (trial: ResidualPoint) => {
    const system = await squares.linearize(trial, scaling);
    const { x, value } = trial;
    const point: Point<Float64Array> = { x, value, gradient: system.gradient };
    return { point, system, step: await dampedStep(system, solve, cg) };
  };

  return run.do(async () => {
    let here = await linearize(await squares.at(run.start));
    let mu = given ?? (await firstDamping(here.system));
    let growth = 2;
    run.note(here.point, 0, { damping: mu, ratio: NaN, accepted: false });
    for (;;) {
      const { point, system, step } = here;
      const size = norm(point.gradient);
      if (size <= tolerance) {
        run.converged(point, `the gradient's norm ${size} is at most ${tolerance}`);
      }
      run.nextIteration();
      const d = await step(mu);
      const next = d?.every(Number.isFinite) ? moved(point.x, 1, d) : undefined;
      let ratio = NaN;
      let accepted = false;
      const damping = mu;
      if (!d || !next) {
        if (!adaptive) run.stop("notPositiveDefinite", `J^T J + ${mu} D is singular`);
      } else {
        if (next.every((value, i) => value === point.x[i])) {
          run.stop("stalled", `the step with damping ${mu} moves nothing`);
        }
        const trial = await squares.at(next);
        const promised = await promisedDecrease(system, d);
        const lost = promised <= 10 * Number.EPSILON * point.value;
        ratio = !Number.isFinite(trial.value)
          ? -1
          : lost
            ? 1
            : (point.value - trial.value) / promised;
        accepted = !adaptive || ratio > LEAST_RATIO;
        if (accepted) here = await linearize(trial);
      }
      run.note(here.point, accepted && d ? norm(d) : 0, { damping, ratio, accepted });
      if (!adaptive) continue;
      if (ratio > 0.75) mu /= 3;
      if (ratio >= 0.25) {
        growth = 2;
      } else {
        mu = mu > 0 ? growth * mu : await firstDamping(system);
        growth *= 2;
      }
    }
  });
}

function checkProblem(
  fn: string,
  problem: LeastSquaresProblem,
  solve: DampedSolve,
  scaling: "identity" | "diagonal",
): void {
  if (!["auto", "primal", "dual", "cg"].includes(solve)) {
    throw new ArgumentError(expected(fn, "auto, primal, dual or cg", "solve", solve));
  }
  if (!["identity", "diagonal"].includes(scaling)) {
    throw new ArgumentError(expected(fn, "identity or diagonal", "scaling", scaling));
  }
  if (!problem.jacobian && !(problem.jvp && problem.vjp)) {
    throw new ArgumentError(expected(fn, "jacobian, or jvp and vjp,", "problem", problem));
  }
  const whole = solve === "primal" || solve === "dual" || scaling === "diagonal";
  if (whole && !problem.jacobian) {
    throw new ArgumentError(
      expected(fn, "jacobian, which these options need,", "problem", problem),
    );
  }
  if (solve === "cg" && scaling === "diagonal") {
    throw new ArgumentError(expected(fn, "identity, with cg,", "scaling", scaling));
  }
}

async function firstDamping({ jacobian, gradient }: DampedSystem): Promise<number> {
  if (jacobian instanceof DenseJacobian) {
    return FIRST_DAMPING * jacobian.squares().reduce((most, value) => Math.max(most, value), 0);
  }
  const size = norm(gradient);
  return size === 0 ? 0 : FIRST_DAMPING * (norm(await jacobian.times(gradient)) / size) ** 2;
}
