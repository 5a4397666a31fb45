import { ArgumentError, expected } from "../errors.js";

/** A value as a function of the step: 0 before the first. */
export type ScheduleFunction = (step: number) => number;

/** A named schedule: it starts at `from`, and lasts `steps` steps after `warmup` steps of linear rise from 0. */
export interface NamedSchedule {
  /**
   * "constant": `from`. "linear", "cosine": down to `to` over `steps`. "exponential": `from * rate^(step / steps)`.
   * "step": `from * rate^floor(step / steps)`. "inverseSqrt": `from * sqrt(steps / max(step, steps))`.
   */
  readonly schedule: "constant" | "linear" | "cosine" | "exponential" | "step" | "inverseSqrt";
  readonly from: number;
  /** Where "linear" and "cosine" end and stay. Default 0. */
  readonly to?: number | undefined;
  /** Length in steps, after the warm-up. Needed by all but "constant". */
  readonly steps?: number | undefined;
  /** Factor of "exponential" and "step". Default 0.1. */
  readonly rate?: number | undefined;
  /** Steps of linear rise to `from`: step t has `from * (t + 1) / warmup`. Default 0. */
  readonly warmup?: number | undefined;
}

/** Range of a decay: from 0 to below 1. */
export const belowOne: readonly [low: number, high: number] = [0, 1 - 2 ** -53];

/** A number, or how it changes with the step. */
export type Scheduled = number | NamedSchedule | ScheduleFunction;

type Complete = { readonly [K in keyof NamedSchedule]-?: NonNullable<NamedSchedule[K]> };
type Shape = (at: number, schedule: Complete) => number;

const shapes: Record<NamedSchedule["schedule"], Shape> = {
  constant: (_, { from }) => from,
  linear: (at, { from, to, steps }) => from + (to - from) * Math.min(1, at / steps),
  cosine: (at, { from, to, steps }) =>
    to + ((from - to) * (1 + Math.cos(Math.PI * Math.min(1, at / steps)))) / 2,
  exponential: (at, { from, rate, steps }) => from * rate ** (at / steps),
  step: (at, { from, rate, steps }) => from * rate ** Math.floor(at / steps),
  inverseSqrt: (at, { from, steps }) => from * Math.sqrt(steps / Math.max(at, steps)),
};

function named(fn: string, name: string, given: NamedSchedule): ScheduleFunction {
  const shape = shapes[given.schedule] as Shape | undefined;
  if (shape === undefined) {
    const known = Object.keys(shapes).join(", ");
    throw new ArgumentError(expected(fn, `one of ${known}`, `${name}.schedule`, given.schedule));
  }
  const { from, to = 0, rate = 0.1, warmup = 0, steps = 1 } = given;
  for (const [key, value] of Object.entries({ from, to, rate })) {
    if (!Number.isFinite(value))
      throw new ArgumentError(expected(fn, "a finite number", `${name}.${key}`, value));
  }
  if (!Number.isInteger(warmup) || warmup < 0)
    throw new ArgumentError(expected(fn, "a whole number from 0", `${name}.warmup`, warmup));
  if (given.schedule !== "constant" && (given.steps === undefined || !(given.steps > 0)))
    throw new ArgumentError(expected(fn, "a number above 0", `${name}.steps`, given.steps));
  const complete = { schedule: given.schedule, from, to, steps, rate, warmup };
  return (step) => (step < warmup ? (from * (step + 1)) / warmup : shape(step - warmup, complete));
}

/**
 * An option as a function of the step, checked against `[low, high]` wherever it is asked.
 *
 * @throws ArgumentError at once for a number or a named schedule that is wrong, and at the step where a function returns
 *   something out of range
 */
export function scheduled(
  fn: string,
  name: string,
  given: Scheduled,
  [low, high]: readonly [low: number, high: number],
): ScheduleFunction {
  const check = (value: unknown, where: string): number => {
    if (typeof value !== "number" || !(value >= low && value <= high)) {
      const range = high === Infinity ? `a number from ${low}` : `a number from ${low} to ${high}`;
      throw new ArgumentError(expected(fn, range, where, value));
    }
    return value;
  };
  if (typeof given === "number") {
    const value = check(given, name);
    return () => value;
  }
  if (typeof given === "function") return (step) => check(given(step), `${name} at step ${step}`);
  if (typeof given !== "object" || (given as unknown) === null) {
    throw new ArgumentError(expected(fn, "a number, a function or a schedule", name, given));
  }
  const value = named(fn, name, given);
  return (step) => check(value(step), `${name} at step ${step}`);
}
