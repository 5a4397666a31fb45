import { run, runSync, type Task } from "../binding/index.js";
import type { InputGram } from "../curvature/index.js";
import { roundToNearestTask } from "../ops/round-to-nearest.js";
import type { Tensor } from "../tensor/index.js";
import { type LayerGram, checkTokens, checkWeight, withGram, withGramSync } from "./layer-input.js";
import { type LayerReport, relativeError, reportRows, startMeasuring } from "./layer-report.js";
import { type QuantizeOptions, type ResolvedQuantize, resolveQuantize } from "./options.js";
import { type QuantizeResult, quantizeResult } from "./quantize-result.js";

export interface RoundToNearestOptions extends QuantizeOptions {
  /** Gives the report the error on the calibration data. */
  readonly gram?: InputGram | Tensor | undefined;
}

/** @internal The report of a layer that was only rounded. */
export function rtnReport(facts: Partial<LayerReport>): LayerReport {
  return {
    method: "rtn",
    rows: "none",
    damping: 0,
    attempts: [],
    deadColumns: 0,
    tokens: 0,
    milliseconds: 0,
    peakBytes: 0,
    warnings: [],
    ...facts,
  };
}

/**
 * Rounds every weight to the nearest point of its row's or group's grid: the baseline of all quantizers.
 *
 * `code = clamp(rint(w / scale) + zero, 0, 2^bits - 1)`, half to even, grids from the smallest and largest weight and zero.
 *
 * @param W `[out, in]` float32, finite.
 * @param options see `QuantizeOptions`; with `gram`, the report has the error on the calibration data.
 * @returns codes, scales, zeros and report; the arrays are yours.
 * @throws ShapeError, DTypeError, ArgumentError, NumericalError (`NON_FINITE`), DisposedError.
 *
 * @example
 * const q = await roundToNearest(W, { bits: 4, groupSize: 32 });
 */
export async function roundToNearest(
  W: Tensor,
  options: RoundToNearestOptions = {},
): Promise<QuantizeResult> {
  const fn = "roundToNearest";
  const resolved = resolveQuantize(fn, options);
  const pass = start(fn, W, resolved);
  if (options.gram) return withGram(fn, W, options.gram, resolved, pass);
  await run(checkWeight(fn, W, resolved.name), resolved);
  return run(pass(undefined), resolved);
}

/** Like `roundToNearest`, blocking. */
export function roundToNearestSync(
  W: Tensor,
  options: Omit<RoundToNearestOptions, "signal" | "onProgress"> = {},
): QuantizeResult {
  const fn = "roundToNearestSync";
  const resolved = resolveQuantize(fn, options);
  const pass = start(fn, W, resolved);
  if (options.gram) return withGramSync(fn, W, options.gram, resolved, pass);
  runSync(checkWeight(fn, W, resolved.name));
  return runSync(pass(undefined));
}

function start(fn: string, W: Tensor, options: ResolvedQuantize) {
  const measured = startMeasuring();
  return function* pass(gram: LayerGram | undefined): Task<QuantizeResult> {
    if (gram) checkTokens(fn, gram, options.name);
    const codes = yield* roundToNearestTask(fn, W, options);
    const [out = 0] = W.shape;
    let facts: Partial<LayerReport> = { tokens: gram?.tokens ?? 0 };
    if (gram && options.report !== "none") {
      const rows = reportRows(out, options.report);
      const error = yield* relativeError(fn, gram.matrix, W, codes, rows);
      const kind = rows.length === out ? "full" : "sampled";
      facts = { ...facts, rows: kind, relativeError: error, rtnRelativeError: error };
    }
    return quantizeResult(W, options, codes, rtnReport({ ...facts, ...measured() }));
  };
}
