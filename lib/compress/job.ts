/**
 * Quantizing an ONNX model, from file to file: every check first, then calibration and one layer after
 * the other with a journal, then the output, loaded and compared before it is moved into place.
 */
import { promises as fs } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { memoryStats } from "../binding/index.js";
import { ArgumentError, expected, NumericalError, OsculateError } from "../errors.js";
import { modelInputs } from "../graph/model-inputs.js";
import { type QuantizableLayer, readWeight } from "../graph/layers.js";
import { findOnnxRuntime } from "../graph/onnxruntime.js";
import { readSamples } from "../graph/samples.js";
import { checkWritable, encodeManifest, kindOf, throwIfAborted } from "../io/index.js";
import { findNonFinite } from "../ops/find-non-finite.js";
import { Tensor } from "../tensor/index.js";
import {
  checkSource,
  externalFiles,
  fileFacts,
  jobEnvironment,
  modelFiles,
  WatchedSamples,
} from "./job-inputs.js";
import { jobManifest } from "./job-manifest.js";
import { checkOutput, stageOutput } from "./job-output.js";
import { checkPrepared, prepare, type Prepared } from "./job-prepare.js";
import { type RunJob, runJob } from "./job-run.js";
import { checkOutputFree, JobState, outputFiles } from "./job-state.js";
import type { JobEvent, LayerRow, QuantizeOnnxOptions, QuantizeOnnxResult } from "./job-types.js";
import { denseBytes, storedBytes } from "./layer-cost.js";
import type { QuantizedLayer } from "./layer-parts.js";
import { type Assignment, recipeText, recipeValue } from "./recipe.js";

const FN = "quantizeOnnx";

/**
 * Quantize the MatMul, Gemm and Conv layers of an ONNX model and write the result as ONNX.
 *
 * Options of a layer come from, in falling order: the first rule of the recipe that matches it, options
 * given here, the top of the recipe, `DEFAULT_LAYER_OPTIONS`. Nothing is written until every check has
 * passed; the output appears whole, after it was loaded and compared with its dequantized weights.
 * During the work `OUT.partial/` holds a lock and a journal of finished layers; an interrupted run goes
 * on with `resume` and gives the same bytes (`OUT`, `OUT.data`, `OUT.manifest.json`) as one that was not.
 *
 * @throws ArgumentError (options, an output that is there, no calibration data), RecipeError, FormatError
 *   (the model, a layer the format cannot hold, nothing to quantize), IoError, LockedError, NumericalError
 *   (NaN or Inf in weights or activations, a layer that cannot be factorized), DeviceError, BindingError
 *   (onnxruntime-node is missing), code "ABORTED".
 *
 * @example
 * const result = await quantizeOnnx({
 *   model: "model.onnx", output: "model.q4.onnx", calibration: "./calibration.mjs", bits: 4, groupSize: 32,
 * });
 * for (const row of result.rows) console.log(row.name, row.report?.relativeError);
 */
export async function quantizeOnnx(options: QuantizeOnnxOptions): Promise<QuantizeOnnxResult> {
  const { signal } = options;
  const left = { layers: 0, folder: "" };
  try {
    return await run(options, left);
  } catch (cause) {
    if (signal?.aborted !== true) throw cause;
    const kept =
      left.layers === 0
        ? "nothing was written"
        : `${left.layers} finished layers are kept in ${left.folder}; resume (--resume) goes on with them`;
    throw new OsculateError("ABORTED", `${FN}: aborted; ${kept}`, { cause, details: left });
  }
}

/** `left`: filled with what an interrupted run leaves behind. */
async function run(
  options: QuantizeOnnxOptions,
  left: { layers: number; folder: string },
): Promise<QuantizeOnnxResult> {
  const start = performance.now();
  memoryStats({ resetPeak: true });
  const { calibration, signal, strict = false, fallback = "error", report = "sampled" } = options;
  const { overwrite = false, resume = false, device = "cpu" } = options;
  checkOptions(options);
  throwIfAborted(FN, signal);
  Tensor.empty([0], { device }).dispose(); // a device that is not there is known now
  const prepared = await prepare(options);
  checkPrepared(FN, prepared);
  const { assignments, chosen, model, recipe } = prepared;
  findOnnxRuntime(FN);
  await checkCalibration(options, chosen);
  const output = resolve(options.output);
  await checkPlaces(prepared, output);
  await checkOutputFree(FN, { output, overwrite, resume });
  await checkWritable(FN, output);
  await checkWeights(prepared, signal);

  const inputs = await modelFiles(model, signal);
  const environment = jobEnvironment({ device, calibrated: calibration !== undefined });
  const settings = { strict, fallback, report };
  const identity = { model: inputs, recipe: recipeValue(recipe), environment, settings };
  const threads = options.threads ?? availableParallelism();
  const state = await JobState.open(FN, { output, identity, overwrite, resume, threads });

  const warnings: string[] = [];
  const emit = (event: JobEvent): void => {
    if (event.type === "warning") warnings.push(event.message);
    options.onEvent?.(event);
  };
  const rows = new Map<string, LayerRow>();
  const opset = model.opset();
  const onLayer: RunJob["onLayer"] = (assignment, done, { index, resumed, etaSeconds }) => {
    const row = quantizedRow(assignment, done, { opset, resumed });
    rows.set(row.name, row);
    emit({ type: "layer", index, total: chosen.length, row, etaSeconds });
  };
  let committed = false;
  try {
    emit({
      type: "plan",
      layers: chosen.length,
      resumed: state.journal.keys.length,
      kept: assignments.length - chosen.length,
      parameters: sumOf(chosen, ({ layer }) => layer.parameters),
    });
    for (const message of planWarnings(prepared)) emit({ type: "warning", message });
    const samples =
      calibration === undefined
        ? undefined
        : new WatchedSamples(
            readSamples(calibration, modelInputs(model), { batchSize: options.batchSize, signal }),
            calibration,
          );
    const sequential = recipe.trueSequential ?? false;
    const common = { strict, fallback, report, device, signal };
    const layers = await runJob({
      ...common,
      model,
      chosen,
      samples,
      sequential,
      state,
      emit,
      onLayer,
    });

    const doneLayers = chosen.flatMap(({ layer }) => {
      const done = layers.get(layer.name);
      return done === undefined ? [] : [{ layer, done }];
    });
    const { staging } = state;
    const staged = await stageOutput(model, doneLayers, { staging, output, signal });
    const sample = samples?.first;
    const check = await checkOutput(model, doneLayers, { staged, staging, sample, signal });
    emit({ type: "check", check });
    if (check.kind === "loaded") {
      emit({
        type: "warning",
        message: `the output was loaded but not run: ${check.reason ?? ""}`,
      });
    }
    const outputs = [await fileFacts(staged.model, signal)];
    if (staged.data !== undefined) outputs.push(await fileFacts(staged.data, signal));
    const manifest = jobManifest({
      environment,
      threads: samples === undefined ? undefined : state.threads,
      inputs,
      outputs,
      calibration: samples?.facts,
      recipe,
      settings,
      assignments,
      layers,
      opset,
      check,
    });
    throwIfAborted(FN, signal);
    const files = { model: staged.model, data: staged.data, manifest: encodeManifest(manifest) };
    await state.commit(files);
    committed = true;
    const target = outputFiles(output);
    return {
      output,
      data: staged.data === undefined ? undefined : target.data,
      manifest: target.manifest,
      rows: assignments.map(
        (assignment) => rows.get(assignment.layer.name) ?? keptRow(assignment, opset),
      ),
      recipe: recipeText(recipe),
      environment,
      check,
      warnings,
      totals: {
        layers: chosen.length,
        parameters: sumOf(assignments, ({ layer }) => layer.parameters),
        quantizedParameters: sumOf(chosen, ({ layer }) => layer.parameters),
        bytesBefore: sumOf(inputs, ({ bytes }) => bytes),
        bytesAfter: sumOf(outputs, ({ bytes }) => bytes),
        calibrationBatches: samples?.facts?.batches ?? 0,
        seconds: (performance.now() - start) / 1000,
        peakBytes: memoryStats().peakBytes,
      },
    };
  } finally {
    if (!committed) {
      left.layers = state.journal.keys.length;
      left.folder = state.folder;
      await state.close();
    }
  }
}

const sumOf = <T>(list: readonly T[], value: (entry: T) => number): number =>
  list.reduce((sum, entry) => sum + value(entry), 0);

function checkOptions(options: QuantizeOnnxOptions): void {
  const { fallback, report, threads } = options;
  const fail = (what: string, name: string, value: unknown): never => {
    throw new ArgumentError(expected(FN, what, name, value));
  };
  for (const name of ["model", "output"] as const) {
    const value: unknown = options[name];
    if (typeof value !== "string" || value === "") fail("a path", name, value);
  }
  for (const name of ["strict", "overwrite", "resume"] as const) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "boolean") fail("true or false", name, value);
  }
  if (fallback !== undefined && !["error", "rtn"].includes(fallback)) {
    fail('"error" or "rtn"', "fallback", fallback);
  }
  if (report !== undefined && !["full", "sampled", "none"].includes(report)) {
    fail('"full", "sampled" or "none"', "report", report);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    fail("an integer >= 1", "threads", threads);
  }
}

async function checkCalibration(
  { calibration }: QuantizeOnnxOptions,
  chosen: Prepared["chosen"],
): Promise<void> {
  if (calibration !== undefined) {
    await checkSource(calibration);
    return;
  }
  const needs = chosen.find(({ options }) => options.method === "gptq");
  if (needs === undefined) return;
  throw new ArgumentError(
    `${FN}: layer ${needs.layer.name} is to be quantized by gptq, which needs calibration data; ` +
      "pass calibration (--calibration FILE|DIR|MODULE), or choose method rtn (--method rtn)",
  );
}

/** No output may stand where an input is. */
async function checkPlaces({ model }: Prepared, output: string): Promise<void> {
  const real = async (path: string): Promise<string> =>
    (await kindOf(path)) === undefined ? resolve(path) : fs.realpath(path);
  const inputs = new Set([await real(model.path), ...externalFiles(model)]);
  for (const path of Object.values(outputFiles(output))) {
    if (!inputs.has(await real(path))) continue;
    throw new ArgumentError(
      `${FN}: ${path} is an input of this job and would be written over; choose another output`,
      { details: { path } },
    );
  }
}

/** Every weight to quantize is finite: said before any work, not at the last layer. */
async function checkWeights(
  { model, chosen }: Prepared,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const { layer } of chosen) {
    throwIfAborted(FN, signal);
    const weight = readWeight(model, layer);
    const tensor = Tensor.from(weight, [weight.length], { borrow: true });
    const { index } = await findNonFinite(tensor, { signal }).finally(() => {
      tensor.dispose();
    });
    if (index >= 0) {
      const [row, column] = [Math.floor(index / layer.columns), index % layer.columns];
      throw new NumericalError(
        "NON_FINITE",
        `${FN}: the weight ${layer.weightName} of layer ${layer.name} is ${weight[index] ?? NaN} at output ${row}, input ${column} (of ${layer.rows} x ${layer.columns}); ` +
          "repair the model, or skip the layer with a rule of the recipe",
        { details: { tensor: layer.weightName, layer: layer.name, index, row, column } },
      );
    }
  }
}

function planWarnings({ chosen }: Prepared): string[] {
  const warnings: string[] = [];
  const widened = chosen.filter(({ options }) => options.bits < 4);
  if (widened.length > 0) {
    warnings.push(
      `${widened.length} layers have 2 or 3 bits; ONNX runtimes read 4 and 8, so they are stored with 4 bits a weight`,
    );
  }
  const shared = chosen.filter(({ layer }) => layer.sharedWith !== undefined);
  if (shared.length > 0) {
    warnings.push(
      `${shared.length} layers share weights, such as ${shared[0]?.layer.name ?? ""}; each gets codes of its own unless its inputs are the same`,
    );
  }
  return warnings;
}

function baseRow(
  { layer, options, rule }: Assignment<QuantizableLayer>,
  opset: number | undefined,
): Omit<LayerRow, "status" | "resumed"> {
  const { bits, groupSize, sym, descAct, staticGroups, mse, method } = options;
  return {
    name: layer.name,
    op: layer.op,
    rows: layer.rows,
    columns: layer.columns,
    groups: layer.groups,
    parameters: layer.parameters,
    ...(rule === undefined ? {} : { rule }),
    ...{ method, bits, groupSize, sym, descAct, staticGroups, mse },
    bytesBefore: denseBytes(layer),
    bytesAfter: storedBytes(layer, options, { opset }),
  };
}

function quantizedRow(
  assignment: Assignment<QuantizableLayer>,
  done: QuantizedLayer,
  facts: { opset: number | undefined; resumed: boolean },
): LayerRow {
  const base = baseRow(assignment, facts.opset);
  return { ...base, status: "quantized", report: done.summary, resumed: facts.resumed };
}

function keptRow(assignment: Assignment<QuantizableLayer>, opset: number | undefined): LayerRow {
  const base = baseRow(assignment, opset);
  return {
    ...base,
    status: "kept",
    reason: assignment.skip ?? "",
    bytesAfter: base.bytesBefore,
    resumed: false,
  };
}
