import type { Task } from "../binding/index.js";
import { type Pruned, weightError } from "../ops/prune.js";
import type { Tensor } from "../tensor/index.js";
import { type FactorAttempt, relative, reportRows } from "./layer-report.js";
import { type Sparsity, sparsityText } from "./sparsity.js";

/** What happened to a pruned layer. Errors are about the layer's output on the calibration data. */
export interface PruneReport {
  readonly method: string;
  /** "50 %" or "2:4". */
  readonly target: string;
  /** Weights that are pruned. */
  readonly zeros: number;
  /** zeros over all weights; 0 for an empty layer. */
  readonly sparsity: number;
  /** Rows the errors were computed from: all, 256 chosen by seed, or none. */
  readonly rows: "full" | "sampled" | "none";
  /** tr(D H D^T) / tr(W H W^T), D = W - pruned W. */
  readonly relativeError?: number;
  /** The same for magnitude pruning within rows to the same target, rounded to nearest where the method quantizes too. */
  readonly magnitudeRelativeError?: number;
  /** 1/2 tr(D H_d D^T) over all rows with the damped matrix; methods that update weights only. */
  readonly loss?: number;
  /** What pruned weights made of it; the rest is of rounding. */
  readonly pruningLoss?: number;
  /** Added to the diagonal, absolute. */
  readonly damping?: number;
  readonly attempts?: readonly FactorAttempt[];
  /** Columns whose inputs were always zero. */
  readonly deadColumns?: number;
  /** Calibration tokens behind the statistic; 0 when there is none, or a matrix was given. */
  readonly tokens: number;
  readonly milliseconds: number;
  /** Most native memory in use at once beyond what was in use before, bytes. */
  readonly peakBytes: number;
  readonly warnings: readonly string[];
}

/** A pruned layer: `weight` `[out, in]` float32, `mask` bool, 1 where kept, and `report`. The caller disposes both tensors. */
export interface PruneResult extends Pruned {
  readonly report: PruneReport;
}

/** Options of every pruner. */
export interface PruneOptions {
  /** Which rows the errors of the report are computed from. "sampled": 256 rows chosen by seed. Default "sampled". */
  readonly report?: "full" | "sampled" | "none" | undefined;
  /** Names the layer in messages. */
  readonly name?: string | undefined;
  /** Rejects with `signal.reason` within 100 ms. */
  readonly signal?: AbortSignal | undefined;
}

/** The counts of a report. */
export function countZeros(
  target: Sparsity,
  size: number,
  zeros: number,
): Pick<PruneReport, "target" | "zeros" | "sparsity"> {
  return { target: sparsityText(target), zeros, sparsity: size === 0 ? 0 : zeros / size };
}

/** The relative errors of a pruned weight and of its baseline. */
export function* pruneErrors(
  fn: string,
  gram: Tensor | undefined,
  weight: Tensor,
  pruned: Tensor,
  baseline: () => Task<Pruned>,
  report: "full" | "sampled" | "none",
): Task<Pick<PruneReport, "rows" | "relativeError" | "magnitudeRelativeError">> {
  if (report === "none" || gram === undefined) return { rows: "none" };
  const out = weight.shape[0] ?? 0;
  const rows = reportRows(out, report);
  const plain = yield* baseline();
  try {
    return {
      rows: rows.length === out ? "full" : "sampled",
      relativeError: relative(yield* weightError(fn, gram, weight, pruned, rows)),
      magnitudeRelativeError: relative(yield* weightError(fn, gram, weight, plain.weight, rows)),
    };
  } finally {
    plain.weight.dispose();
    plain.mask.dispose();
  }
}
