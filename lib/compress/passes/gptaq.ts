import type { Task } from "../../binding/index.js";
import { CrossGram, type InputGram } from "../../curvature/index.js";
import { ArgumentError, NumericalError, expected } from "../../errors.js";
import { checkSameDevice, checkTensor } from "../../ops/check.js";
import { gptaqCorrection } from "../../ops/gptaq-correction.js";
import { gptqQuantizeColumnsTask } from "../../ops/gptq-quantize-columns.js";
import { weightError } from "../../ops/prune.js";
import type { Codes } from "../../ops/quantization-grid.js";
import { roundToNearestTask } from "../../ops/round-to-nearest.js";
import type { Tensor } from "../../tensor/index.js";
import { factorLadder, factorWarnings } from "../factor-ladder.js";
import {
  type LayerGram,
  checkLiveColumns,
  checkTokens,
  withGram,
  withGramSync,
} from "../layer-input.js";
import { type LayerReport, reportRows, startMeasuring } from "../layer-report.js";
import { type GptqOptions, type ResolvedGptq, resolveGptq } from "../options.js";
import {
  type QuantizeResult,
  dequantizeLinear,
  quantizeResult,
  quantizedLinear,
} from "../quantize-result.js";

export interface GptaqOptions extends Omit<GptqOptions, "onFailure"> {
  /** Share of the correction for inputs that are not the original model's: 0 is `gptq`, 1 all of it. Default 0.25. */
  readonly alpha?: number | undefined;
}

interface Resolved extends ResolvedGptq {
  readonly alpha: number;
}

/**
 * Quantizes a linear layer by GPTAQ: as `gptq`, but towards the outputs that the layer has in the original model, whose inputs
 * differ from those that the compressed layers before it give: min ||Q X - W X_fp||^2.
 *
 * @param W `[out, in]` float32, finite. Not changed.
 * @param gram of the inputs X in the compressed model: an `InputGram`, or `2/N X^T X` `[in, in]`.
 * @param cross a `CrossGram` over the same tokens, or `2/N (X_fp - X)^T X` `[in, in]` of the same scale as `gram`.
 * @param options see `GptqOptions` and `GptaqOptions`.
 * @returns a `QuantizedLinear` with `dequantize()` and `report`, whose `outputError` is about the original model's outputs.
 * @throws as `gptq`; ArgumentError when both grams count tokens and differ.
 *
 * Cost: 4/3 in^3 + 2 out in^2 flops. With X_fp = X the codes are those of `gptq`.
 * Source: Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration", 2025. We differ: no inverse is
 * formed, and updates use the columns as they were before rounding, so that `blockSize` changes nothing.
 */
export async function gptaq(
  W: Tensor,
  gram: InputGram | Tensor,
  cross: CrossGram | Tensor,
  options: GptaqOptions = {},
): Promise<QuantizeResult> {
  const fn = "gptaq";
  const resolved = resolve(fn, options);
  const pass = start(fn, W, gram, cross, resolved);
  return withGram(fn, W, gram, resolved, pass);
}

/** Like `gptaq`, blocking. */
export function gptaqSync(
  W: Tensor,
  gram: InputGram | Tensor,
  cross: CrossGram | Tensor,
  options: Omit<GptaqOptions, "signal" | "onProgress"> = {},
): QuantizeResult {
  const fn = "gptaqSync";
  const resolved = resolve(fn, options);
  const pass = start(fn, W, gram, cross, resolved);
  return withGramSync(fn, W, gram, resolved, pass);
}

function resolve(fn: string, options: GptaqOptions): Resolved {
  const { alpha = 0.25 } = options;
  if (!(alpha >= 0 && alpha <= 1))
    throw new ArgumentError(expected(fn, "a number from 0 to 1", "alpha", alpha));
  return { ...resolveGptq(fn, options), alpha };
}

function start(
  fn: string,
  W: Tensor,
  gram: InputGram | Tensor,
  cross: CrossGram | Tensor,
  options: Resolved,
): (gram: LayerGram) => Task<QuantizeResult> {
  const measured = startMeasuring();
  checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
  const columns = W.shape[1] ?? 0;
  if (cross instanceof CrossGram) {
    if (cross.inFeatures !== columns) {
      const what = `a gram of ${columns} features, as W has columns`;
      throw new ArgumentError(expected(fn, what, "cross.inFeatures", cross.inFeatures));
    }
    if ("count" in gram && gram.count !== cross.count)
      throw new ArgumentError(
        expected(fn, `the ${gram.count} tokens of gram`, "cross", cross.count),
      );
  } else {
    checkTensor(fn, "cross", cross, ["float32", "float64"], [columns, columns]);
    checkSameDevice(fn, { W, cross });
  }
  return function* pass(taken: LayerGram): Task<QuantizeResult> {
    checkTokens(fn, taken, options.name);
    const matrix = cross instanceof CrossGram ? cross.matrix() : cross;
    try {
      const { codes, facts } = yield* quantize(fn, W, taken, matrix, options);
      return quantizeResult(W, options, codes, { ...facts, ...measured() });
    } finally {
      if (matrix !== cross) matrix.dispose();
    }
  };
}

function* quantize(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  cross: Tensor,
  options: Resolved,
): Task<{ codes: Codes; facts: Omit<LayerReport, "milliseconds" | "peakBytes"> }> {
  const { factor, attempts } = yield* factorLadder(fn, gram.matrix, options);
  const columns = W.shape[1] ?? 0;
  let correction: Tensor | undefined;
  try {
    checkLiveColumns(fn, factor.deadColumns, columns, options.name);
    correction = yield* gptaqCorrection(fn, cross, factor, { scale: 1, alpha: options.alpha });
    const { loss, ...codes } = yield* gptqQuantizeColumnsTask(fn, W, factor, {
      ...options,
      correction,
    });
    if (!Number.isFinite(loss)) {
      throw new NumericalError(
        "NON_FINITE",
        `${fn}: the loss is ${loss}: the weights, the matrix or the cross matrix are not finite, or too badly scaled for float32`,
      );
    }
    const tokens = gram.tokens ?? 0;
    return {
      codes,
      facts: {
        method: "gptaq",
        ...(yield* errors(fn, W, gram.matrix, cross, codes, options)),
        damping: factor.damping,
        attempts,
        deadColumns: factor.deadColumns,
        tokens,
        warnings: factorWarnings(tokens, columns, factor.deadColumns, attempts),
      },
    };
  } finally {
    factor.factor.dispose();
    correction?.dispose();
  }
}

function* errors(
  fn: string,
  W: Tensor,
  gram: Tensor,
  cross: Tensor,
  codes: Codes,
  options: Resolved,
): Task<
  Pick<
    LayerReport,
    "rows" | "relativeError" | "rtnRelativeError" | "outputError" | "rtnOutputError"
  >
> {
  if (options.report === "none") return { rows: "none" };
  const out = W.shape[0] ?? 0;
  const rows = reportRows(out, options.report);
  const like = cross.dtype === gram.dtype ? cross : cross.toDType(gram.dtype);
  const measure = function* (candidate: Codes): Task<[number | undefined, number | undefined]> {
    using weight = dequantizeLinear(quantizedLinear(W, options, candidate), W.device);
    const { error, reference, crossError } = yield* weightError(fn, gram, W, weight, rows, like);
    if (reference === 0) return [0, 0];
    return [error / reference, (error + 2 * crossError) / reference];
  };
  try {
    const [relativeError, outputError] = yield* measure(codes);
    const [rtnRelativeError, rtnOutputError] = yield* measure(
      yield* roundToNearestTask(fn, W, options),
    );
    const kind = rows.length === out ? "full" : "sampled";
    return { rows: kind, relativeError, rtnRelativeError, outputError, rtnOutputError };
  } finally {
    if (like !== cross) like.dispose();
  }
}
