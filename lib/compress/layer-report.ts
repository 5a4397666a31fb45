import { memoryStats, type Task } from "../binding/index.js";
import type { QuantizedLinear } from "../formats/quantized.js";
import { quantizationErrorTask } from "../ops/quantization-error.js";
import type { Codes, GridOptions } from "../ops/quantization-grid.js";
import { roundToNearestTask } from "../ops/round-to-nearest.js";
import type { Tensor } from "../tensor/index.js";

/** One try to factorize a layer's matrix. */
export interface FactorAttempt {
  /** Fraction of mean(diag H). */
  readonly dampPercent: number;
  readonly precision: "float32" | "float64";
  /** The column whose pivot failed; absent when the try succeeded. */
  readonly failedMinor?: number;
}

/** What happened to a layer. Errors are about the layer's output on the calibration data. */
export interface LayerReport {
  /** The method whose codes these are: "rtn" too when GPTQ was rescued by it (see `warnings`). */
  readonly method: "gptq" | "gptaq" | "obq" | "rtn";
  /** Rows `relativeError` and `rtnRelativeError` were computed from: all, 256 chosen by seed, or none. */
  readonly rows: "full" | "sampled" | "none";
  /** 1/2 tr(D H_d D^T) over all rows, D = W - Q, with the damped matrix. GPTQ only. */
  readonly loss?: number;
  /** tr(D H D^T) / tr(W H W^T), undamped. */
  readonly relativeError?: number | undefined;
  /** The same for round-to-nearest on the same grid. */
  readonly rtnRelativeError?: number | undefined;
  /**
   * GPTAQ only: 2/N ||Q X - W X_fp||^2 / tr(W H W^T), less what no Q can change, 2/N ||W (X_fp - X)||^2 / tr(W H W^T). Negative
   * where the codes make up for a part of what the layers before lost.
   */
  readonly outputError?: number | undefined;
  readonly rtnOutputError?: number | undefined;
  /** Added to the diagonal, absolute. */
  readonly damping: number;
  readonly attempts: readonly FactorAttempt[];
  /** Columns whose inputs were always zero; quantized as weight 0. */
  readonly deadColumns: number;
  /** Calibration tokens behind the matrix; 0 when a matrix was given. */
  readonly tokens: number;
  readonly milliseconds: number;
  /** Most native memory in use at once beyond what was in use before, bytes (of the process: other layers at the same time count in). */
  readonly peakBytes: number;
  readonly warnings: readonly string[];
}

/** Rows of the sampled report. */
export const SAMPLED_ROWS = 256;

/**
 * The rows a report is computed from: all, or `SAMPLED_ROWS` distinct ones chosen by a fixed seed, ascending.
 * splitmix64 on 32-bit halves would be overkill: a multiplicative hash of the row orders them.
 */
export function reportRows(out: number, report: "full" | "sampled"): Int32Array {
  const all = Int32Array.from({ length: out }, (_, row) => row);
  if (report === "full" || out <= SAMPLED_ROWS) return all;
  const key = (row: number) => {
    let x = Math.imul(row + 1, 0x9e3779b1);
    x = Math.imul(x ^ (x >>> 15), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return (x ^ (x >>> 16)) >>> 0;
  };
  return all
    .sort((a, b) => key(a) - key(b) || a - b)
    .slice(0, SAMPLED_ROWS)
    .sort();
}

/** tr(D H D^T) / tr(W H W^T) over the rows; 0 when the layer's output is zero and nothing was lost. */
export function* relativeError(
  fn: string,
  gram: Tensor,
  weight: Tensor,
  quantized: Pick<QuantizedLinear, "codes" | "scales" | "zeros" | "groupIndex">,
  rows: Int32Array,
): Task<number> {
  return relative(yield* quantizationErrorTask(fn, gram, weight, quantized, rows));
}

/** error / reference; 0 when the layer's output is zero and nothing was lost. */
export function relative({ error, reference }: { error: number; reference: number }): number {
  return reference > 0 ? error / reference : error > 0 ? Number.POSITIVE_INFINITY : 0;
}

/** The relative errors of a quantizer and of its baseline, round to nearest on the same grid. */
export function* quantizeErrors(
  fn: string,
  gram: Tensor,
  W: Tensor,
  codes: Codes,
  options: GridOptions & { readonly report: "full" | "sampled" | "none" },
): Task<Pick<LayerReport, "rows" | "relativeError" | "rtnRelativeError">> {
  if (options.report === "none") return { rows: "none" };
  const out = W.shape[0] ?? 0;
  const rows = reportRows(out, options.report);
  const rtn = yield* roundToNearestTask(fn, W, options);
  return {
    rows: rows.length === out ? "full" : "sampled",
    relativeError: yield* relativeError(fn, gram, W, codes, rows),
    rtnRelativeError: yield* relativeError(fn, gram, W, rtn, rows),
  };
}

/** Starts measuring; the function returned gives milliseconds and peak bytes since. */
export function startMeasuring(): () => { milliseconds: number; peakBytes: number } {
  const before = memoryStats({ resetPeak: true }).liveBytes;
  const start = performance.now();
  return () => ({
    milliseconds: performance.now() - start,
    peakBytes: Math.max(0, memoryStats().peakBytes - before),
  });
}
