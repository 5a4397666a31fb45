import { run, runSync, type Task } from "../../binding/index.js";
import type { ColumnStatistics } from "../../curvature/index.js";
import { ArgumentError, expected } from "../../errors.js";
import type { Tensor } from "../../tensor/index.js";
import {
  type ScaledWeights,
  checkStatistics,
  checkWeights,
  largestOfColumns,
  scaleColumns,
} from "../column-scale.js";

export interface SmoothQuantOptions {
  /** How much of the difficulty moves from the activations to the weights, 0 to 1. Default 0.5. */
  readonly alpha?: number | undefined;
  /** Names the layer in messages. */
  readonly name?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Smallest scale, as in the published code. */
const LEAST = 1e-5;

/**
 * SmoothQuant: scales inputs that have outliers down and their weights up, so that both can be rounded to 8 bits:
 * `s_j = max|x_j|^alpha / max|w_j|^(1 - alpha)`.
 *
 * @param weights all layers that share the input, `[out, in]` float32, finite. Not changed.
 * @param statistics of that input.
 * @returns the scale and the scaled weights; 1 for an input that was always zero or whose weights all are.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE`, `NO_TOKENS`.
 * Source: Xiao et al., "SmoothQuant", 2022.
 */
export async function smoothQuant(
  weights: readonly Tensor[],
  statistics: ColumnStatistics,
  options: SmoothQuantOptions = {},
): Promise<ScaledWeights> {
  const fn = "smoothQuant";
  const alpha = checkAlpha(fn, options);
  const { signal } = options;
  const columns = await run(checkWeights(fn, weights, options.name), { signal });
  checkStatistics(fn, statistics, columns);
  const { maxAbs } = await statistics.moments();
  return run(task(fn, weights, maxAbs, alpha), { signal });
}

/** Like `smoothQuant`, blocking. */
export function smoothQuantSync(
  weights: readonly Tensor[],
  statistics: ColumnStatistics,
  options: Omit<SmoothQuantOptions, "signal"> = {},
): ScaledWeights {
  const fn = "smoothQuantSync";
  const alpha = checkAlpha(fn, options);
  const columns = runSync(checkWeights(fn, weights, options.name));
  checkStatistics(fn, statistics, columns);
  return runSync(task(fn, weights, statistics.momentsSync().maxAbs, alpha));
}

function checkAlpha(fn: string, { alpha = 0.5 }: SmoothQuantOptions): number {
  if (!(alpha >= 0 && alpha <= 1))
    throw new ArgumentError(expected(fn, "a number from 0 to 1", "alpha", alpha));
  return alpha;
}

function* task(
  fn: string,
  weights: readonly Tensor[],
  maxAbs: Float32Array,
  alpha: number,
): Task<ScaledWeights> {
  const largest = yield* largestOfColumns(fn, weights, maxAbs.length);
  const scale = maxAbs.map((x, j) => {
    const w = largest[j] ?? 0;
    return x > 0 && w > 0 ? Math.max(LEAST, x ** alpha / w ** (1 - alpha)) : 1;
  });
  return { scale, weights: weights.map((W) => scaleColumns(fn, W, scale)) };
}
