import type { InputGram } from "../curvature/index.js";
import { NumericalError, OsculateError } from "../errors.js";
import { gptqQuantizeColumns } from "../ops/gptq-quantize-columns.js";
import { roundToNearestCodes } from "../ops/round-to-nearest.js";
import type { Tensor } from "../tensor/index.js";
import { factorLadder } from "./factor-ladder.js";
import { type LayerGram, checkWeight, takeGram } from "./layer-input.js";
import {
  type FactorAttempt,
  type LayerReport,
  relativeError,
  reportRows,
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
  await checkWeight(fn, W, resolved.name, resolved.signal);
  let taken: LayerGram | undefined;
  try {
    taken = await takeGram(fn, W, gram, resolved.name);
    return await quantize(fn, W, taken, resolved, measured);
  } catch (error) {
    const rescuable =
      error instanceof OsculateError && ["NOT_POSITIVE_DEFINITE", "NO_TOKENS"].includes(error.code);
    if (!rescuable || resolved.onFailure !== "rtn") throw error;
    return await rescue(W, error, taken, resolved, measured);
  } finally {
    taken?.release();
  }
}

async function quantize(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  options: ResolvedGptq,
  measured: Measured,
): Promise<QuantizeResult> {
  const { factor, attempts } = await factorLadder(fn, gram.matrix, options);
  const [out = 0, columns = 0] = W.shape;
  try {
    if (columns > 0 && factor.deadColumns === columns) {
      throw new NumericalError(
        "NO_TOKENS",
        `${fn}: the matrix${options.name === undefined ? "" : ` of layer ${options.name}`} is all zero: the layer saw no input, nothing is known about it`,
      );
    }
    const { loss, ...codes } = await gptqQuantizeColumns(W, factor, options);
    if (!Number.isFinite(loss)) {
      throw new NumericalError(
        "NON_FINITE",
        `${fn}: the loss is ${loss}: the weights or the matrix are too badly scaled for float32`,
      );
    }
    let errors: Partial<LayerReport> = { rows: "none" };
    if (options.report !== "none") {
      const rows = reportRows(out, options.report);
      const rtn = await roundToNearestCodes(W, options);
      errors = {
        rows: rows.length === out ? "full" : "sampled",
        relativeError: await relativeError(gram.matrix, W, codes, rows, options.signal),
        rtnRelativeError: await relativeError(gram.matrix, W, rtn, rows, options.signal),
      };
    }
    const report: LayerReport = {
      method: "gptq",
      rows: "none",
      loss,
      ...errors,
      damping: factor.damping,
      attempts,
      deadColumns: factor.deadColumns,
      tokens: gram.tokens,
      warnings: warnings(gram.tokens, columns, factor.deadColumns, attempts),
      ...measured(),
    };
    return quantizeResult([out, columns], options, codes, report);
  } finally {
    factor.factor.dispose();
  }
}

function warnings(
  tokens: number,
  columns: number,
  dead: number,
  attempts: readonly FactorAttempt[],
): string[] {
  const found: string[] = [];
  if (tokens > 0 && tokens < columns) {
    found.push(
      `${tokens} calibration tokens for ${columns} columns: the matrix is singular and leans on damping; use more data`,
    );
  }
  if (dead > 0) found.push(`${dead} of ${columns} columns never saw an input other than zero`);
  const last = attempts.at(-1);
  if (attempts.length > 1 && last) {
    found.push(
      `not positive definite at first: rescued by dampPercent ${last.dampPercent} in ${last.precision} after ${attempts.length - 1} failures`,
    );
  }
  return found;
}

/** Round to nearest because the caller asked for it on failure; the report says why. */
async function rescue(
  W: Tensor,
  error: OsculateError,
  gram: LayerGram | undefined,
  options: ResolvedGptq,
  measured: Measured,
): Promise<QuantizeResult> {
  const codes = await roundToNearestCodes(W, options);
  const [out = 0, columns = 0] = W.shape;
  const attempts = (error.details["attempts"] as FactorAttempt[] | undefined) ?? [];
  const report = rtnReport({
    attempts,
    tokens: gram?.tokens ?? 0,
    warnings: [`rounded to nearest instead of gptq: ${error.message}`],
    ...measured(),
  });
  return quantizeResult([out, columns], options, codes, report);
}
