import { checkInteger, checkNumber } from "../ops/check.js";
import { rademacher } from "../ops/random.js";
import { vectorDot } from "../ops/vector-reduce.js";
import {
  type Iteration,
  type IterationOptions,
  type LinearOperator,
  type LinearOperatorSync,
  type StartOptions,
  checkFiniteNumber,
  describeStart,
  drive,
  driveSync,
  product,
  readNumber,
} from "./iteration.js";

export interface TraceOptions extends Omit<StartOptions, "start"> {
  /** Most probes. Default 100. */
  readonly maxProbes?: number | undefined;
  /** Ends when the mean changes by less than this, relatively, from one probe to the next. Default 1e-3; 0: never. */
  readonly tolerance?: number | undefined;
}

export interface TraceResult {
  /** Mean of z^T A z. */
  readonly trace: number;
  /** Of the mean, estimated from the probes; NaN for one probe. */
  readonly standardError: number;
  readonly probes: number;
  /** Whether the mean settled before the probes were used up. */
  readonly converged: boolean;
}

function* iterate(
  fn: string,
  operator: LinearOperator,
  options: TraceOptions,
): Iteration<TraceResult> {
  const { maxProbes = 100, tolerance = 1e-3, seed = 0 } = options;
  checkInteger(fn, "maxProbes", maxProbes, 1, 2 ** 32 - 1);
  checkNumber(fn, "tolerance", tolerance, ">= 0", (value) => value >= 0);
  const { size, input, device } = describeStart(fn, operator, options);
  let [mean, deviations, probes, settled] = [0, 0, 0, false];
  while (probes < maxProbes && !settled) {
    using z = rademacher([size], { seed, step: probes, device });
    using az = yield* product(fn, operator, z, input, "float64");
    using wide = z.toDType("float64");
    const estimate = yield* readNumber(vectorDot(wide, az));
    checkFiniteNumber(fn, "the product", probes, estimate);
    const before = mean;
    mean += (estimate - mean) / ++probes;
    deviations += (estimate - before) * (estimate - mean);
    settled = Math.abs(mean - before) / (Math.abs(before) + 1e-6) < tolerance;
  }
  const standardError = Math.sqrt(deviations / (probes * (probes - 1)));
  return { trace: mean, standardError, probes, converged: settled };
}

/**
 * Hutchinson's estimate of the trace of a symmetric operator: the mean of z^T A z over Rademacher vectors z. The variance of
 * one is twice the sum of the squared off-diagonal entries.
 *
 * @param operator a symmetric matrix or a function, see `LinearOperator`.
 * @throws ArgumentError, ShapeError, DTypeError, DisposedError, NumericalError (`NON_FINITE`, details.iteration), what the
 *   operator throws
 * Cost: a product a probe. Source: Hutchinson 1990; Dong et al., HAWQ-V2, 2020 (when it ends).
 */
export async function traceEstimate(
  operator: LinearOperator,
  options: TraceOptions & IterationOptions = {},
): Promise<TraceResult> {
  return await drive(iterate("traceEstimate", operator, options), options);
}

/** Like `traceEstimate`, blocking. */
export function traceEstimateSync(
  operator: LinearOperatorSync,
  options: TraceOptions = {},
): TraceResult {
  const fn = "traceEstimateSync";
  return driveSync(fn, iterate(fn, operator, options));
}
