import type { InputGram } from "../curvature/index.js";
import type { Task } from "../binding/index.js";
import { NumericalError, OsculateError } from "../errors.js";
import { gptqQuantizeColumnsTask } from "../ops/gptq-quantize-columns.js";
import { roundToNearestTask } from "../ops/round-to-nearest.js";
import type { Tensor } from "../tensor/index.js";
import { factorLadder, factorWarnings } from "./factor-ladder.js";
import {
  type LayerGram,
  checkLiveColumns,
  checkTokens,
  withGram,
  withGramSync,
} from "./layer-input.js";
import {
  type FactorAttempt,
  type LayerReport,
  quantizeErrors,
  startMeasuring,
} from "./layer-report.js";
import { type GptqOptions, type ResolvedGptq, resolveGptq } from "./options.js";
import { type QuantizeResult, quantizeResult } from "./quantize-result.js";
import { rtnReport } from "./round-to-nearest.js";

type Measured = () => { milliseconds: number; peakBytes: number };

/**
 * Quantizes a linear layer by GPTQ: columns in turn, each one's rounding error fed to the columns after it through the
 * layer's inverse Hessian H = 2/N X^T X, so that the layer's output on the calibration data changes least.
 *
 * @param W `[out, in]` float32, finite. Not changed.
 * @param gram what the layer's inputs look like: an `InputGram` (its queue is waited for), or a matrix `[in, in]`, float32 or
 *   float64, symmetric positive semidefinite, any positive scale (the codes do not depend on it).
 * @param options see `GptqOptions`.
 * @returns a `QuantizedLinear` with `dequantize()` and `report`; the arrays are yours.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError before any work; NumericalError `NON_FINITE` (weights,
 *   matrix), `NO_TOKENS`, `NOT_POSITIVE_DEFINITE` (details.attempts); the signal's reason on abort.
 *
 * Cost: in^3/3 + out in^2 flops; 16 in^2 + 12 out in bytes at most. Work runs off the event loop.
 * Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ", 2022. We differ: no inverse is formed, a group's grid always sees the
 * current weights (so `blockSize` changes nothing), scales are rounded to their stored precision first.
 *
 * @example
 * const gram = inputGram(768);
 * await gram.add(X); // [tokens, 768]
 * const q = await gptq(W, gram, { bits: 4, groupSize: 128 });
 * console.log(q.report.relativeError, "instead of", q.report.rtnRelativeError);
 */
export async function gptq(
  W: Tensor,
  gram: InputGram | Tensor,
  options: GptqOptions = {},
): Promise<QuantizeResult> {
  const fn = "gptq";
  const resolved = resolveGptq(fn, options);
  const measured = startMeasuring();
  return withGram(fn, W, gram, resolved, (taken) => task(fn, W, taken, resolved, measured));
}

/** Like `gptq`, blocking. */
export function gptqSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<GptqOptions, "signal" | "onProgress"> = {},
): QuantizeResult {
  const fn = "gptqSync";
  const resolved = resolveGptq(fn, options);
  const measured = startMeasuring();
  return withGramSync(fn, W, gram, resolved, (taken) => task(fn, W, taken, resolved, measured));
}

function* task(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  options: ResolvedGptq,
  measured: Measured,
): Task<QuantizeResult> {
  try {
    checkTokens(fn, gram, options.name);
    return yield* quantize(fn, W, gram, options, measured);
  } catch (error) {
    const rescuable =
      error instanceof OsculateError && ["NOT_POSITIVE_DEFINITE", "NO_TOKENS"].includes(error.code);
    if (!rescuable || options.onFailure !== "rtn") throw error;
    return yield* rescue(fn, W, error, gram, options, measured);
  }
}

function* quantize(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  options: ResolvedGptq,
  measured: Measured,
): Task<QuantizeResult> {
  const { factor, attempts } = yield* factorLadder(fn, gram.matrix, options);
  const columns = W.shape[1] ?? 0;
  try {
    checkLiveColumns(fn, factor.deadColumns, columns, options.name);
    const { loss, ...codes } = yield* gptqQuantizeColumnsTask(fn, W, factor, options);
    if (!Number.isFinite(loss)) {
      throw new NumericalError(
        "NON_FINITE",
        `${fn}: the loss is ${loss}: the weights or the matrix are too badly scaled for float32`,
      );
    }
    const tokens = gram.tokens ?? 0;
    const report: LayerReport = {
      method: "gptq",
      loss,
      ...(yield* quantizeErrors(fn, gram.matrix, W, codes, options)),
      damping: factor.damping,
      attempts,
      deadColumns: factor.deadColumns,
      tokens,
      warnings: factorWarnings(tokens, columns, factor.deadColumns, attempts),
      ...measured(),
    };
    return quantizeResult(W, options, codes, report);
  } finally {
    factor.factor.dispose();
  }
}

/** Round to nearest because the caller asked for it on failure; the report says why. */
function* rescue(
  fn: string,
  W: Tensor,
  error: OsculateError,
  gram: LayerGram,
  options: ResolvedGptq,
  measured: Measured,
): Task<QuantizeResult> {
  const codes = yield* roundToNearestTask(fn, W, options);
  const attempts = (error.details["attempts"] as FactorAttempt[] | undefined) ?? [];
  const report = rtnReport({
    attempts,
    tokens: gram.tokens ?? 0,
    warnings: [`rounded to nearest instead of gptq: ${error.message}`],
    ...measured(),
  });
  return quantizeResult(W, options, codes, report);
}
