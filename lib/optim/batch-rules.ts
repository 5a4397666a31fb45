import { ArgumentError, expected } from "../errors.js";

/** The noise of batch Hessians around the full one, and where it acts. */
export interface BatchNoise {
  /** Largest eigenvalue of the full Hessian, > 0. */
  readonly outlier: number;
  /** Parameters times the variance of an entry of one sample's Hessian: `E |(H_B - H) v|^2 = noise / b`, |v| = 1. */
  readonly noise: number;
  /** Samples of the data; default Infinity. */
  readonly samples?: number | undefined;
}

function positive(fn: string, name: string, value: unknown): void {
  if (!(typeof value === "number" && value > 0))
    throw new ArgumentError(expected(fn, "a number above 0", name, value));
}

/** `B / (1 - B / N)`: infinite for the whole data. */
function effective(fn: string, batch: number, samples = Infinity): number {
  positive(fn, "samples", samples);
  if (!(typeof batch === "number" && batch > 0 && batch <= samples))
    throw new ArgumentError(expected(fn, "a number above 0, at most samples,", "batch", batch));
  return batch / (1 - batch / samples);
}

/**
 * The largest eigenvalue that the Hessian of a batch has: `outlier + noise / (b outlier)` while the outlier stands out of the
 * noise, else the edge of the noise, `2 sqrt(noise / b)`. The largest stable learning rate of gradient descent is 2 over it,
 * with heavy-ball momentum `2 (1 + momentum)` over it.
 *
 * Source: Granziol, Zohren, Roberts, Learning rates as a function of batch size, 2022.
 */
export function batchOutlier(batch: number, { outlier, noise, samples }: BatchNoise): number {
  const fn = "batchOutlier";
  positive(fn, "outlier", outlier);
  if (!(noise >= 0 && noise < Infinity))
    throw new ArgumentError(expected(fn, "a number from 0", "noise", noise));
  const spread = noise / effective(fn, batch, samples);
  return outlier > Math.sqrt(spread) ? outlier + spread / outlier : 2 * Math.sqrt(spread);
}

/** `noise` of `BatchNoise` from the largest eigenvalues of Hessians of two batch sizes. */
export function noiseFromBatches(
  outlier: number,
  [first, second]: readonly [
    { readonly batch: number; readonly outlier: number },
    { readonly batch: number; readonly outlier: number },
  ],
  samples = Infinity,
): number {
  const fn = "noiseFromBatches";
  positive(fn, "outlier", outlier);
  const [b1, b2] = [effective(fn, first.batch, samples), effective(fn, second.batch, samples)];
  if (b1 === b2)
    throw new ArgumentError(expected(fn, "two batch sizes that differ", "batch", first.batch));
  return (outlier * (first.outlier - second.outlier)) / (1 / b1 - 1 / b2);
}

/**
 * The learning rate for another batch size. "sgd": in inverse proportion to `batchOutlier`, so linear in small batches and
 * level in large ones. "adam": in proportion to the square root, up to the batch size `saturation`.
 */
export function scaledLearningRate(
  rate: number,
  [from, to]: readonly [from: number, to: number],
  rule:
    | ({ readonly kind: "sgd" } & BatchNoise)
    | { readonly kind: "adam"; readonly saturation?: number | undefined },
): number {
  const fn = "scaledLearningRate";
  positive(fn, "rate", rate);
  if (rule.kind === "sgd") return (rate * batchOutlier(from, rule)) / batchOutlier(to, rule);
  const { saturation = Infinity } = rule;
  positive(fn, "saturation", saturation);
  for (const batch of [from, to]) effective(fn, batch);
  return rate * Math.sqrt(Math.min(to, saturation) / Math.min(from, saturation));
}

/** Learning rates for a quadratic whose curvature is between two numbers. */
export interface SpectralRates {
  /** With `momentum`: Polyak's, `(2 / (sqrt(largest) + sqrt(low)))^2`. */
  readonly rate: number;
  /** At most 0.99. */
  readonly momentum: number;
  /** Without momentum: `2 / (largest + low)`. */
  readonly plainRate: number;
}

/** The best learning rate and momentum for curvatures from `low` to `largest`. */
export function ratesBetween(low: number, largest: number): SpectralRates {
  const fn = "ratesBetween";
  positive(fn, "low", low);
  if (!(largest >= low && largest < Infinity))
    throw new ArgumentError(expected(fn, `a finite number from ${low}`, "largest", largest));
  const [a, b] = [Math.sqrt(low), Math.sqrt(largest)];
  return {
    rate: (2 / (a + b)) ** 2,
    momentum: Math.min(((b - a) / (b + a)) ** 2, 0.99),
    plainRate: 2 / (largest + low),
  };
}
