import { run, runSync, type Progress, type Task } from "../../binding/index.js";
import type { ColumnStatistics, InputGram } from "../../curvature/index.js";
import { ArgumentError, expected } from "../../errors.js";
import { clipGroups } from "../../ops/clip-groups.js";
import { weightError } from "../../ops/prune.js";
import type { GridOptions } from "../../ops/quantization-grid.js";
import { roundToNearestTask } from "../../ops/round-to-nearest.js";
import type { Tensor } from "../../tensor/index.js";
import {
  type ScaledWeights,
  checkStatistics,
  checkWeights,
  scaleColumns,
  unscaleGram,
} from "../column-scale.js";
import { relativeColumnSizes } from "../column-sizes.js";
import { type LayerGram, checkTokens, withGram, withGramSync } from "../layer-input.js";
import { reportRows } from "../layer-report.js";
import { type QuantizeOptions, resolveQuantize } from "../options.js";
import { dequantizeLinear, quantizedLinear } from "../quantize-result.js";

export interface AwqOptions extends Pick<
  QuantizeOptions,
  "bits" | "groupSize" | "sym" | "scaleDtype" | "name" | "signal" | "report"
> {
  /** Divide by the size of the weights too: s = a^r / w^(1 - r). Default false. */
  readonly duoScaling?: boolean | undefined;
  /** Search the range of each row and group afterwards; not for layers whose outputs are multiplied with each other (q, k). Default true. */
  readonly clip?: boolean | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface AwqResult extends ScaledWeights {
  /** `diag(s)^-1 H diag(s)^-1`: the gram of the scaled inputs, for `gptq` or a report. The caller disposes it. */
  readonly gram: Tensor;
  /** The exponent chosen, r/20. */
  readonly ratio: number;
  /** tr(D H D^T) / tr(W H W^T) of rounding to nearest at each exponent tried, 0 first (no scaling). Before clipping. */
  readonly errors: readonly number[];
}

const RATIOS = 20;

/**
 * AWQ: scales weights of inputs that are large on average up, so that rounding hurts them less: `s = a^r`, a the mean |x_j|,
 * with the exponent r of 0, 1/20, ... 19/20 that rounding to nearest likes best. Then quantize the result, with the options
 * given here, by `roundToNearest` (as published) or `gptq`.
 *
 * @param weights all layers that share the input, `[out, in]` float32, finite. Not changed.
 * @param gram of that input: an `InputGram`, or `2/N X^T X` `[in, in]`. The published code tries on a sample of tokens; here
 *   the error is that of all of them.
 * @param statistics of the same input.
 * @param options the grid, as in `QuantizeOptions` but `sym` false; `report: "full"` tries on all rows, else on 256 a layer.
 * @returns scale, scaled and clipped weights, the matching gram, and what the search saw.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE`, `NO_TOKENS`.
 * Cost: 80 rows in^2 flops for the search, 20 out in group for clipping.
 * Source: Lin et al., "AWQ", 2023. We differ: the grids contain zero.
 */
export async function awq(
  weights: readonly Tensor[],
  gram: InputGram | Tensor,
  statistics: ColumnStatistics,
  options: AwqOptions = {},
): Promise<AwqResult> {
  const fn = "awq";
  const resolved = resolve(fn, options);
  const columns = await run(checkWeights(fn, weights, options.name), { signal: options.signal });
  checkStatistics(fn, statistics, columns);
  const { meanAbs } = await statistics.moments();
  const [first] = weights as [Tensor];
  return withGram(fn, first, gram, options, (taken) => task(fn, weights, taken, meanAbs, resolved));
}

/** Like `awq`, blocking. */
export function awqSync(
  weights: readonly Tensor[],
  gram: InputGram | Tensor,
  statistics: ColumnStatistics,
  options: Omit<AwqOptions, "signal" | "onProgress"> = {},
): AwqResult {
  const fn = "awqSync";
  const resolved = resolve(fn, options);
  const columns = runSync(checkWeights(fn, weights, options.name));
  checkStatistics(fn, statistics, columns);
  const { meanAbs } = statistics.momentsSync();
  const [first] = weights as [Tensor];
  return withGramSync(fn, first, gram, options, (taken) =>
    task(fn, weights, taken, meanAbs, resolved),
  );
}

interface Resolved extends GridOptions {
  readonly duoScaling: boolean;
  readonly clip: boolean;
  readonly report: "full" | "sampled" | "none";
  readonly name: string | undefined;
}

function resolve(fn: string, options: AwqOptions): Resolved {
  const { duoScaling = false, clip = true } = options;
  for (const [name, value] of Object.entries({ duoScaling, clip }))
    if (typeof value !== "boolean") throw new ArgumentError(expected(fn, "a boolean", name, value));
  return { ...resolveQuantize(fn, { ...options, sym: options.sym ?? false }), duoScaling, clip };
}

/**
 * @internal The scale of one exponent: a^r, or a^r / w^(1 - r) with sizes w of the weights; at least 1e-4, then centred so that
 * the largest and the smallest are reciprocal. Not finite: 1.
 */
export function awqScale(meanAbs: Float64Array, ratio: number, sizes?: Float64Array): Float32Array {
  const raw = meanAbs.map((a, j) =>
    Math.max(1e-4, a ** ratio / (sizes ? (sizes[j] ?? 0) ** (1 - ratio) + 1e-4 : 1)),
  );
  const centre = Math.sqrt(
    raw.reduce((m, x) => Math.max(m, x), 0) * raw.reduce((m, x) => Math.min(m, x), Infinity),
  );
  return Float32Array.from(raw, (x) => (Number.isFinite(x / centre) ? x / centre : 1));
}

function* task(
  fn: string,
  weights: readonly Tensor[],
  gram: LayerGram,
  meanAbs: Float64Array,
  options: Resolved,
): Task<AwqResult> {
  checkTokens(fn, gram, options.name);
  const sizes = options.duoScaling
    ? yield* relativeColumnSizes(fn, weights, options.groupSize)
    : undefined;
  const errors: number[] = [];
  let best = 0;
  for (let step = 0; step < RATIOS; ++step) {
    const scale = scaleOf(meanAbs, step, sizes);
    errors.push(yield* roundingError(fn, weights, gram.matrix, scale, options));
    if ((errors[step] ?? 0) < (errors[best] ?? 0)) best = step;
  }
  const scale = scaleOf(meanAbs, best, sizes);
  const made: Tensor[] = [unscaleGram(fn, gram.matrix, scale)];
  const [scaledGram] = made as [Tensor];
  try {
    for (const W of weights) {
      using scaled = scaleColumns(fn, W, scale);
      made.push(
        options.clip ? yield* clipGroups(fn, scaled, scaledGram, options) : scaled.contiguous(),
      );
    }
    return { scale, weights: made.slice(1), gram: scaledGram, ratio: best / RATIOS, errors };
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}

/** Exponent 0 means no scaling, with sizes too: the search never ends worse than it began. */
function scaleOf(
  meanAbs: Float64Array,
  step: number,
  sizes: Float64Array | undefined,
): Float32Array {
  if (step === 0) return new Float32Array(meanAbs.length).fill(1);
  return awqScale(meanAbs, step / RATIOS, sizes);
}

/** Relative output error of all weights rounded to nearest under a scale. */
function* roundingError(
  fn: string,
  weights: readonly Tensor[],
  gram: Tensor,
  scale: Float32Array,
  options: Resolved,
): Task<number> {
  let lost = 0;
  let whole = 0;
  for (const W of weights) {
    using scaled = scaleColumns(fn, W, scale);
    const codes = yield* roundToNearestTask(fn, scaled, options);
    using dense = dequantizeLinear(quantizedLinear(W, options, codes), W.device);
    using rounded = scaleColumns(fn, dense, scale, "divide");
    const rows = reportRows(W.shape[0] ?? 0, options.report === "full" ? "full" : "sampled");
    const { error, reference } = yield* weightError(fn, gram, W, rounded, rows);
    lost += error;
    whole += reference;
  }
  return whole > 0 ? lost / whole : 0;
}
