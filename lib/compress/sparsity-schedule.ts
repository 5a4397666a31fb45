import { ArgumentError, expected } from "../errors.js";
import { checkInteger, checkNumber } from "../ops/check.js";

export interface CubicSchedule {
  /** Sparsity up to `begin`. */
  readonly initial: number;
  /** Sparsity from `end` on. */
  readonly final: number;
  /** In steps or epochs, the unit of the argument. */
  readonly begin: number;
  readonly end: number;
}

function checkFraction(fn: string, name: string, value: number): void {
  checkNumber(fn, name, value, "from 0 to 1", (x) => x >= 0 && x <= 1);
}

/**
 * Gradual pruning: `s(t) = final + (initial - final) (1 - u)^3`, u from 0 at `begin` to 1 at `end`. Fast first, while there is
 * much to remove.
 *
 * Source: Zhu, Gupta, "To prune, or not to prune", 2017; with a large `initial`, GMP* (Kurtic, Alistarh, 2022).
 */
export function cubicSparsity(schedule: CubicSchedule, t: number): number {
  const fn = "cubicSparsity";
  const { initial, final, begin, end } = schedule;
  checkFraction(fn, "initial", initial);
  checkFraction(fn, "final", final);
  if (!(initial <= final))
    throw new ArgumentError(expected(fn, `at most final = ${final}`, "initial", initial));
  if (!(begin < end))
    throw new ArgumentError(expected(fn, `a number above begin = ${begin}`, "end", end));
  checkNumber(fn, "t", t, "that is finite", () => true);
  const u = Math.min(1, Math.max(0, (t - begin) / (end - begin)));
  return final + (initial - final) * (1 - u) ** 3;
}

/**
 * Sparsities of `steps` prunings that take away the same fraction of what is left each time: `1 - (1 - from) f^j`. For M-FAC and
 * oBERT, which take new gradients at each.
 */
export function geometricSparsities(from: number, to: number, steps: number): number[] {
  const fn = "geometricSparsities";
  checkFraction(fn, "from", from);
  checkFraction(fn, "to", to);
  checkInteger(fn, "steps", steps, 1, 1e6);
  if (!(from <= to && from < 1))
    throw new ArgumentError(expected(fn, `at most to = ${to}, below 1`, "from", from));
  const factor = ((1 - to) / (1 - from)) ** (1 / steps);
  return Array.from({ length: steps }, (_, j) =>
    j + 1 === steps ? to : 1 - (1 - from) * factor ** (j + 1),
  );
}

/**
 * The learning rate of gradual pruning: from `peak` at every pruning down to `floor` just before the next, linearly, so that the
 * model recovers from each; after the last one down to `floor` at `end`.
 *
 * @param prunings times of the prunings, ascending; before the first one `peak` falls from time 0.
 */
export function rewoundLearningRate(
  t: number,
  options: {
    readonly peak: number;
    /** Default 0. */
    readonly floor?: number | undefined;
    readonly prunings: readonly number[];
    readonly end: number;
  },
): number {
  const fn = "rewoundLearningRate";
  const { peak, floor = 0, prunings, end } = options;
  checkNumber(fn, "peak", peak, ">= 0", (x) => x >= 0);
  checkNumber(fn, "floor", floor, `from 0 to peak = ${peak}`, (x) => x >= 0 && x <= peak);
  checkNumber(fn, "t", t, "that is finite", () => true);
  const marks = [0, ...prunings.filter((mark) => mark > 0), end];
  if (marks.some((mark, i) => i > 0 && !(mark > (marks[i - 1] ?? 0))))
    throw new ArgumentError(expected(fn, "ascending times up to end", "prunings", prunings));
  if (t >= end) return floor;
  let at = 0;
  while (at + 2 < marks.length && t >= (marks[at + 1] ?? Infinity)) ++at;
  const [from = 0, to = 1] = marks.slice(at, at + 2);
  return floor + (peak - floor) * (1 - Math.min(1, Math.max(0, (t - from) / (to - from))));
}
