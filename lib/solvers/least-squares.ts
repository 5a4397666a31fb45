import { ArgumentError, expected } from "../errors.js";
import type { DampedSystem } from "./damped-step.js";
import type { Evaluator } from "./evaluator.js";
import { DenseJacobian, jacobianAt } from "./jacobian.js";
import type { LeastSquaresProblem } from "./types.js";
import { dot, norm } from "./vector.js";

/** Residuals at a point, and f there: 1/2 ||r||^2. */
export interface ResidualPoint {
  readonly x: Float64Array;
  readonly residuals: Float64Array;
  readonly value: number;
}

/** Of the largest entry of diag(J^T J). */
const FLOOR = 1e-10;

/** Evaluates a least-squares problem; every point counts for the best. */
export class LeastSquares {
  readonly #run: Evaluator<Float64Array>;
  readonly #problem: LeastSquaresProblem;
  #count: number | undefined;

  constructor(run: Evaluator<Float64Array>, problem: LeastSquaresProblem) {
    this.#run = run;
    this.#problem = problem;
  }

  /** Finite or not. */
  async at(x: Float64Array): Promise<ResidualPoint> {
    const raw: unknown = await this.#run.call("residuals", () =>
      this.#problem.residuals(x.slice()),
    );
    const numbers = raw as ArrayLike<number>;
    if (typeof raw !== "object" || raw === null || !("length" in raw)) {
      const { fn } = this.#run;
      throw new ArgumentError(expected(fn, "an array of numbers", "the result of residuals", raw));
    }
    this.#count ??= numbers.length;
    const residuals = this.#run.numbers("residuals", numbers, this.#count);
    const value = dot(residuals, residuals) / 2;
    this.#run.offer(x, value, NaN);
    return { x, residuals, value };
  }

  /** The linear model of the residuals at a finite point; the run ends at any other. */
  async linearize(
    { x, residuals, value }: ResidualPoint,
    scaling: "identity" | "diagonal",
  ): Promise<DampedSystem> {
    this.#run.requireFiniteValue(value);
    const jacobian = await jacobianAt(this.#run, this.#problem, x, residuals.length);
    const gradient = await jacobian.transposedTimes(residuals);
    this.#run.requireFinite("J^T r", gradient);
    this.#run.offer(x, value, norm(gradient));
    const scaled = scaling === "diagonal" && jacobian instanceof DenseJacobian;
    return {
      jacobian,
      residuals,
      gradient,
      weights: scaled ? floored(jacobian.squares()) : undefined,
    };
  }
}

/** A parameter that no residual depends on must not make the matrix singular. */
function floored(squares: Float64Array): Float64Array {
  const largest = squares.reduce((most, value) => Math.max(most, value), 0);
  return squares.map((value) => Math.max(value, largest > 0 ? FLOOR * largest : 1));
}
