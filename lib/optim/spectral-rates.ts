import { checkBatches, hessianOperator, type BatchLoss } from "../curvature/hessian-operator.js";
import { ArgumentError, NumericalError, expected } from "../errors.js";
import { lanczos } from "../linalg/index.js";
import { checkInteger } from "../ops/check.js";
import { ratesBetween, type SpectralRates } from "./batch-rules.js";
import { checkParameters, type Parameter } from "./parameters.js";

export interface SpectralRatesOptions {
  /** The loss is the mean of `loss(0)` to `loss(batches - 1)`. Default 1. */
  readonly batches?: number | undefined;
  /** Lanczos steps of a probe. Default 30. */
  readonly steps?: number | undefined;
  /** Random start vectors. Default 1. */
  readonly probes?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** The largest eigenvalue of the batch trained on from the one found, when that is a larger batch: see `batchOutlier`. */
  readonly inflate?: ((largest: number) => number) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SpectralRatesResult extends SpectralRates {
  /** The largest Ritz value, with its residual: an upper bound. */
  readonly largest: number;
  /** The small scale: the weighted median of the positive Ritz values, but at least a thousandth of the largest. */
  readonly low: number;
  /** Weight of the negative Ritz values in the spectral density, 0 to 1. */
  readonly negativeWeight: number;
}

const leastShare = 1e-3;

/** Where half of the weight is below. */
function weightedMedian(pairs: readonly (readonly [value: number, weight: number])[]): number {
  const sorted = [...pairs].sort(([a], [b]) => a - b);
  const half = sorted.reduce((sum, [, weight]) => sum + weight, 0) / 2;
  let sum = 0;
  for (const [value, weight] of sorted) {
    sum += weight;
    if (sum >= half) return value;
  }
  return Number.NaN;
}

/**
 * Learning rate and momentum from the spectrum of the Hessian here, by stochastic Lanczos quadrature; call it once an epoch or so
 * and put the numbers into an optimizer's schedules. Nothing is changed.
 *
 * @throws NumericalError (`NON_FINITE`) where the Hessian is not finite; ArgumentError where it has no positive eigenvalue
 * Cost: probes * steps products with the Hessian.
 * Source: Granziol, Zohren, Roberts, Learning rates as a function of batch size, 2022; which small scale it uses is not known,
 * the weighted median and its floor are ours.
 */
export async function spectralRates(
  loss: BatchLoss,
  params: Iterable<Parameter>,
  options: SpectralRatesOptions = {},
): Promise<SpectralRatesResult> {
  const fn = "spectralRates";
  const list = checkParameters(fn, params);
  const { steps = 30, probes = 1, seed = 0, inflate = (value: number) => value, signal } = options;
  const batches = checkBatches(fn, options.batches);
  checkInteger(fn, "probes", probes, 1, 2 ** 20);
  const size = list.reduce((sum, { tensor }) => sum + tensor.size, 0);
  const device = list[0]?.tensor.device;
  const operator = hessianOperator(loss, list, batches);
  let [top, negativeWeight] = [-Infinity, 0];
  const positive: (readonly [number, number])[] = [];
  for (let probe = 0; probe < probes; ++probe) {
    const found = await lanczos(operator, { size, device, steps, seed: seed + probe, signal });
    found.values.forEach((value, i) => {
      const weight = found.weights[i] ?? 0;
      top = Math.max(top, value + (found.residuals[i] ?? 0));
      if (value > 0) positive.push([value, weight]);
      else if (value < 0) negativeWeight += weight / probes;
    });
  }
  const largest = inflate(top);
  if (positive.length === 0)
    throw new ArgumentError(expected(fn, "a positive eigenvalue", "the Hessian", top));
  if (!Number.isFinite(largest))
    throw new NumericalError("NON_FINITE", `${fn}: the largest eigenvalue is ${largest}`);
  const low = Math.min(largest, Math.max(weightedMedian(positive), leastShare * largest));
  return { ...ratesBetween(low, largest), largest, low, negativeWeight };
}
