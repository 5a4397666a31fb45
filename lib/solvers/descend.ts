/** Line searches along a direction, as `lbfgs` and `nonlinearCG` use them. */
import { ArgumentError, expected } from "../errors.js";
import { type Evaluator, isFinitePoint, type Point } from "./evaluator.js";
import { type LinePoint, strongWolfe } from "./line-search.js";
import { arithmetic, type Arithmetic } from "./precision.js";
import type { SecondOrderProblem, Vector } from "./types.js";
import { moved } from "./vector.js";

/**
 * - `strongWolfe`: the default.
 * - `exact`: t = -<g, d> / <d, H d>, the minimum along the line of a quadratic; needs `hvp`.
 */
export type LineSearch = "strongWolfe" | "exact";

export interface DescendOptions {
  readonly lineSearch: LineSearch;
  /** Of the strong Wolfe conditions. */
  readonly c1: number;
  readonly c2: number;
  /** Default float64. */
  readonly arithmetic?: Arithmetic;
}

/**
 * Goes down from `point` along `d`, <g, d> < 0, trying the step `first` first.
 *
 * @returns undefined when no lower point was found.
 */
export type Descend<V extends Vector> = (
  point: Point<V>,
  d: V,
  first: number,
) => Promise<LinePoint<V> | undefined>;

/** @throws ArgumentError */
export function descender<V extends Vector>(
  run: Evaluator<V>,
  problem: SecondOrderProblem<V>,
  options: DescendOptions,
): Descend<V> {
  const { lineSearch, c1, c2, arithmetic: sums = arithmetic.float64 } = options;
  const onLine = (from: Point<V>, d: V) => ({
    start: { ...from, t: 0, slope: sums.dot(from.gradient, d) },
    at: async (t: number): Promise<LinePoint<V>> => {
      const point = await run.point(problem, moved(from.x, t, d));
      return { ...point, t, slope: sums.dot(point.gradient, d) };
    },
  });
  if (!["strongWolfe", "exact"].includes(lineSearch)) {
    throw new ArgumentError(expected(run.fn, "strongWolfe or exact", "lineSearch", lineSearch));
  }
  if (lineSearch === "strongWolfe") {
    return async (point, d, first) => {
      const { start, at } = onLine(point, d);
      return (
        (await strongWolfe(at, start, { c1, c2, first })) ?? (await secant(at, start, first, sums))
      );
    };
  }
  if (!problem.hvp) {
    const what = "hvp, which the exact line search needs,";
    throw new ArgumentError(expected(run.fn, what, "problem", problem));
  }
  return async (point, d) => {
    const { start, at } = onLine(point, d);
    const curvature = sums.dot(d, await run.hvp(problem, point.x, d));
    if (!(curvature > 0)) return undefined;
    const found = await at(sums.round(-start.slope / curvature));
    return isFinitePoint(found) && found.value < start.value ? found : undefined;
  };
}

/**
 * Where values of f no longer tell points apart their slopes still do: one step to where the slope would be zero. Taken when f
 * did not rise by more than rounding and the gradient became shorter, so that a run cannot go round in circles.
 */
async function secant<V extends Vector>(
  at: (t: number) => Promise<LinePoint<V>>,
  start: LinePoint<V>,
  first: number,
  { dot, epsilon }: Arithmetic,
): Promise<LinePoint<V> | undefined> {
  const probe = await at(first);
  const t = (first * start.slope) / (start.slope - probe.slope);
  if (!(t > 0 && t < Infinity)) return undefined;
  const found = await at(t);
  const shorter = dot(found.gradient, found.gradient) < dot(start.gradient, start.gradient);
  const level = found.value - start.value <= 10 * epsilon * Math.abs(start.value);
  return shorter && level ? found : undefined;
}
