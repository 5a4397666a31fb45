import { enqueue, type Device } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkInteger } from "./check.js";

/** What a random number depends on, beside its kind. The same key gives the same bits on every device and in any order. */
export interface RandomKey {
  /** 0 to 2^53 - 1. */
  readonly seed: number;
  /** Who draws: numbers of different streams are independent. 0 to 2^32 - 1, default 0. */
  readonly stream?: number | undefined;
  /** When, e.g. the training step. 0 to 2^32 - 1, default 0. */
  readonly step?: number | undefined;
  /** Index of the first element, for a tensor drawn in pieces. Default 0; index + size is at most 2^53. */
  readonly index?: number | undefined;
}

export interface RandomOptions extends RandomKey {
  /** Default "cpu". */
  readonly device?: Device | undefined;
}

// The order of RandomKind in native/core/philox.h.
const kinds = ["uniform", "normal", "rademacher"] as const;

/** @internal The key as kernels take it, checked; `size` elements are drawn. */
export function randomKey(fn: string, key: RandomKey, size: number) {
  const { seed, stream = 0, step = 0, index = 0 } = key;
  checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(fn, "stream", stream, 0, 2 ** 32 - 1);
  checkInteger(fn, "step", step, 0, 2 ** 32 - 1);
  checkInteger(fn, "index", index, 0, Number.MAX_SAFE_INTEGER - size);
  return { seed, stream, step, index };
}

function checkFinite(fn: string, name: string, value: number): void {
  if (typeof value !== "number" || !Number.isFinite(value))
    throw new ArgumentError(expected(fn, "a finite number", name, value));
}

function draw(
  fn: string,
  kind: (typeof kinds)[number],
  shape: readonly number[],
  options: RandomOptions,
  scale: number,
  shift: number,
): Tensor<"float32"> {
  const y = Tensor.empty(shape, { device: options.device });
  try {
    const key = randomKey(fn, options, y.size);
    const args = { y: y.native(fn), kind: kinds.indexOf(kind), ...key, scale, shift };
    enqueue(fn, "random_fill", y.device, args);
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}

/**
 * Uniform numbers: `low + (high - low) u` in float32, u a multiple of 2^-24 in [0, 1). The last rounding may give `high`.
 *
 * @param shape of the new tensor, float32; the caller disposes it.
 * @param options `low` default 0, `high` default 1, and the key.
 * @throws ArgumentError, ShapeError. Source: Philox4x32-10, Salmon et al., 2011.
 */
export function randomUniform(
  shape: readonly number[],
  options: RandomOptions & { low?: number | undefined; high?: number | undefined },
): Tensor<"float32"> {
  const fn = "randomUniform";
  const { low = 0, high = 1 } = options;
  checkFinite(fn, "low", low);
  checkFinite(fn, "high", high);
  if (low > high) throw new ArgumentError(expected(fn, `a number >= low = ${low}`, "high", high));
  return draw(fn, "uniform", shape, options, high - low, low);
}

/**
 * Normal numbers `mean + std n`, |n| <= 6.77, float32, by Box and Muller's method.
 *
 * @param shape of the new tensor, float32; the caller disposes it.
 * @param options `mean` default 0, `std` default 1, and the key.
 * @throws ArgumentError, ShapeError.
 */
export function randomNormal(
  shape: readonly number[],
  options: RandomOptions & { mean?: number | undefined; std?: number | undefined },
): Tensor<"float32"> {
  const fn = "randomNormal";
  const { mean = 0, std = 1 } = options;
  checkFinite(fn, "mean", mean);
  checkFinite(fn, "std", std);
  if (std < 0) throw new ArgumentError(expected(fn, "a number >= 0", "std", std));
  return draw(fn, "normal", shape, options, std, mean);
}

/**
 * Rademacher numbers: -1 or +1, each with probability 1/2. One of Hutchinson's probes.
 *
 * @param shape of the new tensor, float32; the caller disposes it.
 * @throws ArgumentError, ShapeError.
 */
export function rademacher(shape: readonly number[], options: RandomOptions): Tensor<"float32"> {
  return draw("rademacher", "rademacher", shape, options, 1, 0);
}
