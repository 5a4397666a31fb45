/** One step along a line, t > 0: how far. */
import type { Point } from "./evaluator.js";
import type { Vector } from "./types.js";

/** A point of the line: where, and phi(t) = f(x + t d) with its slope phi'(t). */
export interface LinePoint<V extends Vector> extends Point<V> {
  readonly t: number;
  /** <gradient, d>. */
  readonly slope: number;
}

export interface WolfeOptions {
  /** Decrease asked for, as a part of the slope at 0: 0 < c1 < c2. */
  readonly c1: number;
  /** Slope allowed, as a part of that at 0: c1 < c2 < 1. */
  readonly c2: number;
  /** The first step tried, > 0. */
  readonly first: number;
}

const MAX_EVALUATIONS = 20;
const MAX_STEP = 1e3;
/** A bracket this narrow, as a part of its far end, holds nothing to be found. */
const NARROW = 1e-9;

/**
 * A step with the strong Wolfe conditions, `phi(t) <= phi(0) + c1 t phi'(0)` and `|phi'(t)| <= c2 |phi'(0)|`: bracket by
 * doubling, then zoom by cubic interpolation (Nocedal, Wright, Numerical Optimization, algorithms 3.5 and 3.6). Where the
 * evaluations or the bracket give out, any point lower than the start is taken instead.
 *
 * @param evaluate phi at t; a non-finite value counts as infinitely high.
 * @param start phi(0), phi'(0) < 0.
 * @returns undefined when no lower point was found.
 */
export async function strongWolfe<P extends { t: number; value: number; slope: number }>(
  evaluate: (t: number) => Promise<P>,
  start: P,
  { c1, c2, first }: WolfeOptions,
): Promise<P | undefined> {
  let left = MAX_EVALUATIONS;
  const at = async (t: number): Promise<P> => {
    left--;
    const point = await evaluate(t);
    const finite = Number.isFinite(point.value) && Number.isFinite(point.slope);
    return finite ? point : { ...point, value: Infinity, slope: NaN };
  };
  const isHigh = ({ t, value }: P) => value > start.value + c1 * t * start.slope;
  const isFlat = ({ slope }: P) => Math.abs(slope) <= -c2 * start.slope;

  const zoom = async (from: P, to: P): Promise<P | undefined> => {
    let [low, high] = [from, to];
    while (left > 0 && Math.abs(high.t - low.t) > NARROW * Math.max(low.t, high.t)) {
      const point = await at(between(low, high));
      if (isHigh(point) || point.value >= low.value) {
        high = point;
      } else {
        if (isFlat(point)) return point;
        if (point.slope * (high.t - low.t) >= 0) high = low;
        low = point;
      }
    }
    return low.value < start.value ? low : undefined;
  };

  let previous = start;
  for (let t = Math.min(first, MAX_STEP); left > 0; t = Math.min(2 * t, MAX_STEP)) {
    const point = await at(t);
    if (isHigh(point) || (previous !== start && point.value >= previous.value)) {
      return zoom(previous, point);
    }
    if (isFlat(point)) return point;
    if (point.slope >= 0) return zoom(point, previous);
    previous = point;
    if (t === MAX_STEP) break;
  }
  return previous.value < start.value ? previous : undefined;
}

interface End {
  readonly t: number;
  readonly value: number;
  readonly slope: number;
}

/** Where the cubic through values and slopes of both ends is least, within the middle 80 % of the interval. */
function between(low: End, high: End): number {
  const width = high.t - low.t;
  const d1 = low.slope + high.slope - (3 * (high.value - low.value)) / width;
  const d2 = Math.sign(width) * Math.sqrt(d1 * d1 - low.slope * high.slope);
  const t = high.t - (width * (high.slope + d2 - d1)) / (high.slope - low.slope + 2 * d2);
  const [a, b] = [low.t + 0.1 * width, high.t - 0.1 * width].sort((x, y) => x - y) as [
    number,
    number,
  ];
  return Number.isFinite(t) ? Math.min(Math.max(t, a), b) : low.t + width / 2;
}

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * The least point met by a golden-section search of a function with one valley on [low, high].
 *
 * @param iterations each narrows the interval to 0.618 of itself and evaluates once.
 */
export async function goldenSection(
  f: (t: number) => Promise<number>,
  low: number,
  high: number,
  iterations: number,
): Promise<{ t: number; value: number }> {
  const at = async (t: number) => ({ t, value: await f(t) });
  let [from, to] = [low, high];
  let left = await at(to - GOLDEN * (to - from));
  let right = await at(from + GOLDEN * (to - from));
  let best = left.value <= right.value ? left : right;
  for (let i = 0; i < iterations; i++) {
    if (left.value <= right.value) {
      to = right.t;
      right = left;
      left = await at(to - GOLDEN * (to - from));
      if (left.value < best.value) best = left;
    } else {
      from = left.t;
      left = right;
      right = await at(from + GOLDEN * (to - from));
      if (right.value < best.value) best = right;
    }
  }
  return best;
}
