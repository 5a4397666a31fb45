import { ArgumentError, expected } from "../errors.js";

/** When sampling ends before the most samples: the half width of the confidence interval, relative to the estimate. */
export interface StoppingRule {
  /** E.g. 0.02: stop when the estimate is within 2 % of the truth, at `confidence`. Default: take all samples. */
  readonly tolerance?: number | undefined;
  /** Default 0.95. */
  readonly confidence?: number | undefined;
  /** Samples before the rule is asked. Default 8. */
  readonly minSamples?: number | undefined;
}

/** A number estimated from random samples. */
export interface Estimate {
  readonly value: number;
  /** Standard error of `value`; NaN for a single sample. */
  readonly standardError: number;
}

/** Mean and standard error of numbers as they come. Source: Welford, 1962. */
export class RunningMean {
  count = 0;
  mean = 0;
  #m2 = 0;

  add(x: number): void {
    this.count += 1;
    const delta = x - this.mean;
    this.mean += delta / this.count;
    this.#m2 += delta * (x - this.mean);
  }

  get standardError(): number {
    return this.count < 2 ? Number.NaN : Math.sqrt(this.#m2 / (this.count - 1) / this.count);
  }

  get estimate(): Estimate {
    return { value: this.mean, standardError: this.standardError };
  }
}

/** Inverse of the normal distribution function, to 1.2e-9. Source: Acklam's rational approximation. */
function normalQuantile(p: number): number {
  const tail = (q: number) =>
    (((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q -
      2.549732539343734) *
      q +
      4.374664141464968) *
      q +
      2.938163982698783) /
    ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q +
      3.754408661907416) *
      q +
      1);
  if (p < 0.02425) return tail(Math.sqrt(-2 * Math.log(p)));
  if (p > 1 - 0.02425) return -tail(Math.sqrt(-2 * Math.log(1 - p)));
  const q = p - 0.5;
  const r = q * q;
  return (
    ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r +
      138.357751867269) *
      r -
      30.66479806614716) *
      r +
      2.506628277459239) *
      q) /
    (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r +
      66.80131188771972) *
      r -
      13.28068155288572) *
      r +
      1)
  );
}

/** Quantile of Student's t, by Cornish and Fisher's expansion: within 0.5 % from 7 degrees of freedom on. */
export function studentQuantile(p: number, freedom: number): number {
  const z = normalQuantile(p);
  const n = freedom;
  return (
    z +
    (z ** 3 + z) / (4 * n) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * n ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * n ** 3)
  );
}

/**
 * The rule as a test of a running mean.
 *
 * @throws ArgumentError when an option is out of range
 */
export function stoppingTest(fn: string, rule: StoppingRule): (mean: RunningMean) => boolean {
  const { tolerance, confidence = 0.95, minSamples = 8 } = rule;
  if (tolerance !== undefined && !(tolerance > 0 && tolerance < Infinity))
    throw new ArgumentError(expected(fn, "a number above 0", "tolerance", tolerance));
  if (!(confidence > 0.5 && confidence < 1))
    throw new ArgumentError(
      expected(fn, "a number above 0.5 and below 1", "confidence", confidence),
    );
  if (!Number.isInteger(minSamples) || minSamples < 2)
    throw new ArgumentError(expected(fn, "a whole number from 2", "minSamples", minSamples));
  if (tolerance === undefined) return () => false;
  return ({ count, mean, standardError }) => {
    if (count < minSamples) return false;
    const quantile = studentQuantile((1 + confidence) / 2, count - 1);
    return quantile * standardError <= tolerance * Math.abs(mean);
  };
}
