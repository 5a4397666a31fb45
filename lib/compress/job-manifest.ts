/** The manifest of a quantization job: all of it is decided by the job, none of it by the clock. */
import type { QuantizableLayer } from "../graph/layers.js";
import {
  type Manifest,
  MANIFEST_FORMAT,
  MANIFEST_VERSION,
  type ManifestFile,
} from "../io/index.js";
import type { CalibrationFacts, InputFile } from "./job-inputs.js";
import type { LayerSummary, OutputCheck } from "./job-types.js";
import type { LayerCheck } from "./layer-check.js";
import { denseBytes, storedBytes } from "./layer-cost.js";
import type { QuantizedLayer } from "./layer-parts.js";
import { type Assignment, type CheckedRecipe, recipeValue } from "./recipe.js";

/** A layer in a manifest. */
export interface ManifestLayer {
  readonly name: string;
  readonly op: string;
  /** The tensors it reads and makes: how a verifier finds it in the output. */
  readonly input: string;
  readonly output: string;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly status: "quantized" | "kept";
  readonly [key: string]: unknown;
}

/** A quantized one. */
export interface QuantizedManifestLayer extends ManifestLayer {
  readonly status: "quantized";
  readonly weight_error: number;
  readonly relative_error?: number;
  readonly rtn_relative_error?: number;
  readonly check: LayerCheck;
}

export interface JobManifest extends Manifest {
  readonly layers: readonly (ManifestLayer | QuantizedManifestLayer)[];
}

const without = (object: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

function layerEntry(
  { layer, options, rule, skip }: Assignment<QuantizableLayer>,
  done: QuantizedLayer | undefined,
  opset: number | undefined,
): ManifestLayer {
  const { name, op, rows, columns, groups } = layer;
  const { inputName: input, outputName: output, weightName: weight } = layer;
  const base = { name, op, input, output, weight, rows, columns, groups };
  if (done === undefined) {
    return { ...base, status: "kept", ...without({ rule, reason: skip }) };
  }
  const { summary, check } = done;
  return {
    ...base,
    status: "quantized",
    ...without({ rule }),
    method: options.method,
    bits: options.bits,
    group_size: options.groupSize,
    sym: options.sym,
    ...(options.method === "rtn"
      ? {}
      : {
          desc_act: options.descAct,
          static_groups: options.staticGroups,
          damp_percent: options.dampPercent,
        }),
    mse: options.mse,
    scale_dtype: options.scaleDtype,
    bytes_before: denseBytes(layer),
    bytes_after: storedBytes(layer, options, { opset }),
    ...summaryEntry(summary),
    check,
  };
}

function summaryEntry(summary: LayerSummary): Record<string, unknown> {
  return without({
    codes_by: summary.method,
    error_rows: summary.rows,
    loss: summary.loss,
    relative_error: summary.relativeError,
    rtn_relative_error: summary.rtnRelativeError,
    weight_error: summary.weightError,
    damping: summary.damping,
    damp_percent_used: summary.dampPercent,
    attempts: summary.attempts.map(({ dampPercent, precision, failedMinor }) =>
      without({ damp_percent: dampPercent, precision, failed_minor: failedMinor }),
    ),
    dead_columns: summary.deadColumns,
    tokens: summary.tokens,
    warnings: summary.warnings,
    rescued: summary.rescued,
  });
}

export function jobManifest(job: {
  readonly environment: Readonly<Record<string, string>>;
  readonly threads: number | undefined;
  readonly inputs: readonly InputFile[];
  readonly outputs: readonly ManifestFile[];
  readonly calibration: CalibrationFacts | undefined;
  readonly recipe: CheckedRecipe;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly assignments: readonly Assignment<QuantizableLayer>[];
  readonly layers: ReadonlyMap<string, QuantizedLayer>;
  readonly opset: number | undefined;
  readonly check: OutputCheck;
}): JobManifest {
  const { check, threads } = job;
  return {
    format: MANIFEST_FORMAT,
    version: MANIFEST_VERSION,
    job: "quantize",
    environment: {
      ...job.environment,
      ...(threads === undefined ? {} : { calibration_threads: String(threads) }),
    },
    inputs: job.inputs,
    outputs: job.outputs,
    ...(job.calibration === undefined ? {} : { calibration: job.calibration }),
    recipe: recipeValue(job.recipe),
    settings: job.settings,
    // Not the difference itself: its last digits belong to the runtime's kernels, not to the job.
    output_check: without({
      kind: check.kind,
      sample: check.sample,
      tolerance: check.tolerance,
      reason: check.reason,
    }),
    layers: job.assignments.map((assignment) =>
      layerEntry(assignment, job.layers.get(assignment.layer.name), job.opset),
    ),
  };
}
