import type { InputGram } from "../curvature/index.js";
import { roundToNearestCodes } from "../ops/round-to-nearest.js";
import type { Tensor } from "../tensor/index.js";
import { checkWeight, takeGram } from "./layer-input.js";
import { type LayerReport, relativeError, reportRows, startMeasuring } from "./layer-report.js";
import { type QuantizeOptions, resolveQuantize } from "./options.js";
import { type QuantizeResult, quantizeResult } from "./quantize-result.js";

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
  options: QuantizeOptions & { readonly gram?: InputGram | Tensor | undefined } = {},
): Promise<QuantizeResult> {
  const fn = "roundToNearest";
  const resolved = resolveQuantize(fn, options);
  const measured = startMeasuring();
  await checkWeight(fn, W, resolved.name, resolved.signal);
  const gram = options.gram && (await takeGram(fn, W, options.gram, resolved.name));
  try {
    const codes = await roundToNearestCodes(W, resolved);
    const [out = 0, columns = 0] = W.shape;
    let facts: Partial<LayerReport> = { tokens: gram?.tokens ?? 0 };
    if (gram && resolved.report !== "none") {
      const rows = reportRows(out, resolved.report);
      const error = await relativeError(gram.matrix, W, codes, rows, resolved.signal);
      const kind = rows.length === out ? "full" : "sampled";
      facts = { ...facts, rows: kind, relativeError: error, rtnRelativeError: error };
    }
    return quantizeResult([out, columns], resolved, codes, rtnReport({ ...facts, ...measured() }));
  } finally {
    gram?.release();
  }
}
