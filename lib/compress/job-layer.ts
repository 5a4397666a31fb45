/** Quantizing one layer of a job: each convolution group on its own, one report for all of it. */
import type { Device } from "../binding/index.js";
import type { InputGram } from "../curvature/index.js";
import type { QuantizableLayer } from "../graph/layers.js";
import { quantizationError } from "../ops/quantization-error.js";
import { Tensor } from "../tensor/index.js";
import { gptq } from "./gptq.js";
import type { LayerSummary } from "./job-types.js";
import { makeCheck } from "./layer-check.js";
import { denseWeight, type QuantizedLayer, relativeSquares } from "./layer-parts.js";
import { type LayerReport, reportRows } from "./layer-report.js";
import type { QuantizeResult } from "./quantize-result.js";
import type { LayerOptions } from "./recipe.js";
import { roundToNearest } from "./round-to-nearest.js";

export interface LayerJob {
  readonly layer: QuantizableLayer;
  readonly options: LayerOptions;
  /** `[rows, columns]`, finite. */
  readonly weight: Float32Array;
  /** One per group; undefined without calibration data. */
  readonly grams: readonly InputGram[] | undefined;
  readonly strict: boolean;
  readonly fallback: "error" | "rtn";
  readonly report: "full" | "sampled" | "none";
  readonly device: Device;
  readonly signal: AbortSignal | undefined;
}

/** @throws what `gptq` throws, with the name of the layer in the message. */
export async function quantizeLayer(job: LayerJob): Promise<QuantizedLayer> {
  const { layer, grams, signal, weight } = job;
  const start = performance.now();
  const parts: QuantizeResult[] = [];
  const energies: number[] = [];
  for (let group = 0; group < layer.groups; group += 1) {
    const part = await withGroup(job, group, (W) => quantizePart(job, W, group));
    parts.push(part);
  }
  const energyOf = async (group: number): Promise<number> =>
    (energies[group] ??= await withGroup(job, group, (W) => groupEnergy(job, W, group, parts)));
  const after = await denseWeight(parts);
  const errors = await combinedErrors(parts, energyOf);
  const check = await makeCheck(layer, { before: weight, after, grams, energyOf, signal });
  const milliseconds = performance.now() - start;
  const summary = summarize(job, parts, {
    ...errors,
    weightError: await relativeSquares(weight, after),
    milliseconds,
  });
  return { parts: parts.map(plainPart), summary, check };
}

/** Without the functions and the report: what is kept and written. */
function plainPart(part: QuantizeResult): QuantizedLayer["parts"][number] {
  const { inFeatures, outFeatures, bits, groupSize, groups, sym, scaleDtype } = part;
  const { codes, scales, zeros, groupIndex } = part;
  const shape = { inFeatures, outFeatures, bits, groupSize, groups, sym, scaleDtype };
  return { ...shape, codes, scales, zeros, groupIndex };
}

async function withGroup<T>(
  { layer, weight, device }: LayerJob,
  group: number,
  use: (W: Tensor) => Promise<T>,
): Promise<T> {
  const rows = layer.rows / layer.groups;
  const size = rows * layer.columns;
  const W = Tensor.from(weight.subarray(group * size, (group + 1) * size), [rows, layer.columns], {
    device,
  });
  try {
    return await use(W);
  } finally {
    W.dispose();
  }
}

async function quantizePart(job: LayerJob, W: Tensor, group: number): Promise<QuantizeResult> {
  const { layer, options, signal, report } = job;
  const name = layer.groups === 1 ? layer.name : `${layer.name} (group ${group})`;
  const { bits, groupSize, sym, mse, scaleDtype } = options;
  const common = { bits, groupSize, sym, mse, scaleDtype, report, name, signal };
  const gram = job.grams?.[group];
  if (options.method === "rtn" || gram === undefined) {
    // A layer that saw no token can still be rounded; its error is then unknown.
    const usable = gram !== undefined && gram.count > 0 ? { gram } : {};
    return roundToNearest(W, { ...common, ...usable });
  }
  const { descAct, staticGroups, dampPercent, blockSize } = options;
  return gptq(W, gram, {
    ...common,
    descAct,
    staticGroups,
    dampPercent,
    blockSize,
    strict: job.strict,
    onFailure: job.fallback,
  });
}

/** `tr(W H W^T)` of one group over the rows of the sampled report. */
async function groupEnergy(
  job: LayerJob,
  W: Tensor,
  group: number,
  parts: readonly QuantizeResult[],
): Promise<number> {
  const gram = job.grams?.[group];
  const part = parts[group];
  if (gram === undefined || part === undefined || gram.count === 0) return 0;
  const matrix = await gram.matrix();
  try {
    const rows = reportRows(part.outFeatures, "sampled");
    const { reference } = await quantizationError(matrix, W, part, rows, { signal: job.signal });
    return reference;
  } finally {
    matrix.dispose();
  }
}

type Errors = Pick<LayerSummary, "relativeError" | "rtnRelativeError">;

/** Relative errors of groups weigh as much as their energy. */
async function combinedErrors(
  parts: readonly QuantizeResult[],
  energyOf: (group: number) => Promise<number>,
): Promise<Errors> {
  const combine = async (
    key: "relativeError" | "rtnRelativeError",
  ): Promise<number | undefined> => {
    const values = parts.map(({ report }) => report[key]);
    if (values.some((value) => value === undefined)) return undefined;
    if (values.length === 1) return values[0];
    let error = 0;
    let energy = 0;
    for (const [group, value = 0] of values.entries()) {
      const share = await energyOf(group);
      if (share > 0) [error, energy] = [error + value * share, energy + share];
    }
    return energy > 0 ? error / energy : 0;
  };
  const [relativeError, rtnRelativeError] = [
    await combine("relativeError"),
    await combine("rtnRelativeError"),
  ];
  // JSON has no infinity; an output that should be zero and is not has no relative error.
  const finite = (value: number | undefined): value is number =>
    value !== undefined && Number.isFinite(value);
  return {
    ...(finite(relativeError) ? { relativeError } : {}),
    ...(finite(rtnRelativeError) ? { rtnRelativeError } : {}),
  };
}

function summarize(
  job: LayerJob,
  parts: readonly QuantizeResult[],
  facts: Errors & Pick<LayerSummary, "weightError" | "milliseconds">,
): LayerSummary {
  const reports = parts.map(({ report }) => report);
  const methods = new Set(reports.map(({ method }) => method));
  const [method = "rtn"] = methods;
  const most = (value: (report: LayerReport) => number): number =>
    reports.reduce((best, report) => Math.max(best, value(report)), 0);
  const attempts = reports.reduce<LayerReport["attempts"]>(
    (longest, report) => (report.attempts.length > longest.length ? report.attempts : longest),
    [],
  );
  const kinds = new Set(reports.map(({ rows }) => rows));
  const losses = reports.flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
  const last = attempts.at(-1);
  const rescued = rescueText(job, reports, attempts);
  return {
    method: methods.size > 1 ? "mixed" : method,
    rows: kinds.has("none") ? "none" : kinds.has("sampled") ? "sampled" : "full",
    ...(losses.length === reports.length ? { loss: losses.reduce((a, b) => a + b, 0) } : {}),
    ...facts,
    damping: most(({ damping }) => damping),
    ...(last === undefined ? {} : { dampPercent: last.dampPercent }),
    attempts,
    deadColumns: reports.reduce((sum, report) => sum + report.deadColumns, 0),
    tokens: most(({ tokens }) => tokens),
    peakBytes: most(({ peakBytes }) => peakBytes),
    warnings: joinWarnings(reports),
    ...(rescued === undefined ? {} : { rescued }),
  };
}

function rescueText(
  { options }: LayerJob,
  reports: readonly LayerReport[],
  attempts: LayerReport["attempts"],
): string | undefined {
  const rounded = reports.filter(({ method }) => method !== options.method).length;
  const where = (count: number): string =>
    reports.length === 1 ? "" : ` in ${count} of ${reports.length} groups`;
  if (rounded > 0) return `rounded to nearest instead of ${options.method}${where(rounded)}`;
  const last = attempts.at(-1);
  if (attempts.length < 2 || last === undefined) return undefined;
  const raised = reports.filter((report) => report.attempts.length > 1).length;
  return `damping raised to ${last.dampPercent} of the mean diagonal (${last.precision})${where(raised)}`;
}

/** The warnings of all groups, each once, with how many groups it came from. */
function joinWarnings(reports: readonly LayerReport[]): string[] {
  const counts = new Map<string, number>();
  for (const { warnings } of reports) {
    for (const text of warnings) counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return Array.from(counts, ([text, count]) =>
    reports.length === 1 ? text : `${text} (${count} of ${reports.length} groups)`,
  );
}
