import { call, callSync, type KernelArguments } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkFlat, checkInteger, checkNumber } from "./check.js";
import { type RandomKey, randomKey } from "./random.js";
import { type Segments, nativeSegments } from "./segments.js";

// The order of DiagonalKind in native/core/hutchinson.h.
const kinds = ["signed", "absolute", "square"] as const;

/** Statistics of estimates of a Hessian's diagonal; each is float32 of the size of hv, and updated in place. */
export interface DiagonalStatistics {
  /** Mean of the estimates so far. Not read before the first. */
  readonly mean?: Tensor | undefined;
  /** Sum of their squared deviations: `sqrt(m2 / (k (k - 1)))` is the standard error of the mean of k. Needs `mean`. */
  readonly m2?: Tensor | undefined;
  /** `ema = beta ema + (1 - beta) d`. */
  readonly ema?: Tensor | undefined;
}

export interface HutchinsonOptions {
  /** What is taken from hv: z o hv (default), |hv|, or hv^2 (for Gauss-Newton-Bartlett). */
  readonly kind?: (typeof kinds)[number] | undefined;
  /**
   * For "signed": the signs z with which hv = H z was made, as a tensor, or as the key that `rademacher` made them from, for
   * the whole vector; they are then drawn again and never stored.
   */
  readonly probe?: Tensor | RandomKey | undefined;
  /** Estimates already in `mean` and `m2`. Default 0. */
  readonly count?: number | undefined;
  /** Of `ema`, in [0, 1). */
  readonly beta?: number | undefined;
  /** The tensors in the vector, d being averaged over runs of `block` elements. Default: no averaging. */
  readonly segments?: Segments | undefined;
  /** Look for NaN and Inf first, and reject with `NON_FINITE` with everything unchanged. Default true. */
  readonly checkFinite?: boolean | undefined;
}

function prepare(
  fn: string,
  hv: Tensor,
  statistics: DiagonalStatistics,
  options: HutchinsonOptions,
): { args: KernelArguments; total: Tensor<"float64"> } {
  const { kind = "signed", probe, count = 0, beta, checkFinite = true } = options;
  const { mean, m2, ema } = statistics;
  if (!kinds.includes(kind))
    throw new ArgumentError(expected(fn, `one of ${kinds.join(", ")}`, "kind", kind));
  if (kind === "signed" && typeof probe !== "object")
    throw new ArgumentError(expected(fn, 'the signs, for kind "signed",', "probe", probe));
  checkInteger(fn, "count", count, 0, Number.MAX_SAFE_INTEGER);
  if (ema !== undefined)
    checkNumber(fn, "beta", beta, "in [0, 1)", (value) => value >= 0 && value < 1);
  if (m2 !== undefined && mean === undefined)
    throw new ArgumentError(expected(fn, "a tensor, since m2 is given,", "mean", mean));
  const given = probe instanceof Tensor ? probe : undefined;
  const key = kind === "signed" && !(probe instanceof Tensor) ? probe : undefined;
  const others = Object.entries({ probe: given, mean, m2, ema });
  const present = others.filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
  checkFlat(fn, { hv, ...Object.fromEntries(present) });
  const segments = nativeSegments(fn, options.segments, hv.size);
  const keys = randomKey(fn, key ?? { seed: 0 }, hv.size);
  const none = nativeArray(new Float32Array(0), "float32");
  const total = Tensor.empty([1], { dtype: "float64", device: hv.device });
  const args = {
    hv: hv.native(fn),
    probe: given?.native(fn),
    segments,
    mean: mean?.native(fn) ?? none,
    m2: m2?.native(fn) ?? none,
    ema: ema?.native(fn) ?? none,
    total: total.native(fn),
    kind: kinds.indexOf(kind),
    count,
    beta: beta ?? 0,
    ...keys,
    checkFinite: Number(checkFinite),
  };
  return { args, total };
}

/**
 * Takes one estimate d of the diagonal of a Hessian H from `hv = H z`, z of random signs, into running statistics: one pass.
 * E[z o Hz] is the diagonal; its variance in element i is the sum of H_ij^2, j other than i.
 *
 * @param hv float32, contiguous, any shape: the product with the probe (or, for "square", a gradient).
 * @param statistics updated in place, on the device of hv, sharing no memory.
 * @returns the sum of d in float64; for "signed" z^T H z, an estimate of the trace. It cannot be aborted.
 * @throws ArgumentError, ShapeError, DTypeError, DeviceError, DisposedError, NumericalError (`NON_FINITE`, details.index)
 * Source: Hutchinson 1990; Yao et al., AdaHessian, 2021 (averaging; absolute value before the average).
 */
export async function hutchinsonAccumulate(
  hv: Tensor,
  statistics: DiagonalStatistics,
  options: HutchinsonOptions,
): Promise<number> {
  const fn = "hutchinsonAccumulate";
  const { args, total: sum } = prepare(fn, hv, statistics, options);
  using total = sum;
  await call(fn, "hutchinson_accumulate", hv.device, args);
  return (await total.data())[0] ?? Number.NaN;
}

/** The blocking twin of `hutchinsonAccumulate`. */
export function hutchinsonAccumulateSync(
  hv: Tensor,
  statistics: DiagonalStatistics,
  options: HutchinsonOptions,
): number {
  const fn = "hutchinsonAccumulateSync";
  const { args, total: sum } = prepare(fn, hv, statistics, options);
  using total = sum;
  callSync(fn, "hutchinson_accumulate", hv.device, args);
  return total.dataSync()[0] ?? Number.NaN;
}
