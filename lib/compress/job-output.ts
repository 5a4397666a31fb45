/** The files of a job: built, written aside, loaded and compared, then moved into place. */
import { promises as fs } from "node:fs";
import { basename, join } from "node:path";
import { FormatError, NumericalError, OsculateError } from "../errors.js";
import {
  encodeOnnx,
  type EncodedOnnx,
  isExternal,
  type OnnxModel,
  tensorsOf,
} from "../formats/onnx/index.js";
import {
  ELEMENT_ARRAYS,
  type ElementArray,
  elementCount,
  type Feeds,
  type TypedHostTensor,
} from "../graph/element-types.js";
import type { QuantizableLayer } from "../graph/layers.js";
import { modelInputs } from "../graph/model-inputs.js";
import { writeDenseWeight, writeQuantizedWeight } from "../graph/rewrite.js";
import { GraphSession } from "../graph/session.js";
import { SessionHost } from "../graph/session-host.js";
import { externalDataPath, toIoError, writeWhole } from "../io/index.js";
import type { OutputCheck } from "./job-types.js";
import { denseWeight, type QuantizedLayer } from "./layer-parts.js";

/**
 * How far the written file may be from the dequantized reference, relative to the largest output. Both
 * are float32 and differ only in the order of their sums; a wrong weight differs by far more.
 */
export const CHECK_TOLERANCE = 1e-3;

/** Sizes tried for open dimensions when there is no calibration sample. */
const SYNTHETIC_SIZES = [1, 8, 32, 64, 224];

export interface DoneLayer {
  readonly layer: QuantizableLayer;
  readonly done: QuantizedLayer;
}

export interface StagedOutput {
  /** Paths of the files written aside. */
  readonly model: string;
  readonly data: string | undefined;
}

function encodeWith(model: OnnxModel, dataName: string, external: boolean): EncodedOnnx {
  if (external) return encodeOnnx(model, { externalDataName: dataName });
  try {
    return encodeOnnx(model);
  } catch (cause) {
    const large = cause instanceof FormatError && cause.details["reason"] === "too-large";
    if (!large) throw cause;
    return encodeOnnx(model, { externalDataName: dataName });
  }
}

async function stage(
  model: OnnxModel,
  path: string,
  signal: AbortSignal | undefined,
): Promise<StagedOutput> {
  const external = [...tensorsOf(model.graph)].some(isExternal);
  const encoded = encodeWith(model, basename(externalDataPath(path)), external);
  await writeWhole(path, encoded.model, { signal });
  if (encoded.data === undefined) return { model: path, data: undefined };
  const data = externalDataPath(path);
  await writeWhole(data, encoded.data, { signal });
  return { model: path, data };
}

/** Write the quantized model, named like `output`, into the folder `staging`. */
export async function stageOutput(
  model: OnnxModel,
  layers: readonly DoneLayer[],
  { staging, output, signal }: { staging: string; output: string; signal: AbortSignal | undefined },
): Promise<StagedOutput> {
  const quantized = model.fork();
  for (const { layer, done } of layers) writeQuantizedWeight(quantized, layer, done.parts);
  try {
    await fs.rm(staging, { recursive: true, force: true });
    await fs.mkdir(staging);
  } catch (cause) {
    throw toIoError("quantizeOnnx", "make", staging, cause);
  }
  return stage(quantized, join(staging, basename(output)), signal);
}

/**
 * Load the written file and a float32 model with the dequantized weights, run both on one sample and
 * compare every output.
 *
 * @throws FormatError when the file does not load; NumericalError when it computes something else.
 */
export async function checkOutput(
  model: OnnxModel,
  layers: readonly DoneLayer[],
  {
    staged,
    staging,
    sample,
    signal,
  }: {
    staged: StagedOutput;
    staging: string;
    sample: Feeds | undefined;
    signal: AbortSignal | undefined;
  },
): Promise<OutputCheck> {
  const host = SessionHost.start({ fn: "quantizeOnnx" }); // both sessions in one process
  try {
    const written = await GraphSession.open(staged.model, { signal, host });
    const dense = model.fork();
    for (const { layer, done } of layers) {
      writeDenseWeight(dense, layer, await denseWeight(done.parts));
    }
    const reference = await openReference(dense, join(staging, ".reference.onnx"), {
      signal,
      host,
    });
    return await compare(reference, written, { model, sample, signal });
  } finally {
    const closing = host.close();
    // After an abort a run may still be under way; it ends on its own.
    if (signal?.aborted !== true) await closing;
    else closing.catch(() => undefined);
  }
}

/** A session of the model in memory; by way of files only where it is too large for one. */
async function openReference(
  model: OnnxModel,
  path: string,
  options: { signal: AbortSignal | undefined; host: SessionHost },
): Promise<GraphSession> {
  const encoded = encodeWith(model, basename(externalDataPath(path)), false);
  if (encoded.data === undefined) {
    return GraphSession.open(encoded.model, options);
  }
  await writeWhole(path, encoded.model, { signal: options.signal });
  await writeWhole(externalDataPath(path), encoded.data, { signal: options.signal });
  return GraphSession.open(path, options);
}

async function compare(
  reference: GraphSession,
  written: GraphSession,
  {
    model,
    sample,
    signal,
  }: { model: OnnxModel; sample: Feeds | undefined; signal: AbortSignal | undefined },
): Promise<OutputCheck> {
  const base = { tolerance: CHECK_TOLERANCE };
  if (sample !== undefined) {
    const want = await reference.run(sample, { signal });
    const got = await written.run(sample, { signal });
    const difference = outputDifference(want, got);
    return { kind: "compared", sample: "calibration", difference, ...base };
  }
  let reason = "the model has inputs that cannot be made up";
  for (const size of SYNTHETIC_SIZES) {
    const made = syntheticFeeds(model, size);
    if (made === undefined) break;
    let want: Record<string, TypedHostTensor>;
    try {
      want = await reference.run(made, { signal });
    } catch (cause) {
      if (!(cause instanceof OsculateError) || cause.code !== "ARGUMENT") throw cause;
      reason = "the model refuses made-up inputs; give calibration data to compare";
      continue;
    }
    const got = await written.run(made, { signal });
    const difference = outputDifference(want, got);
    return { kind: "compared", sample: "synthetic", difference, ...base };
  }
  return { kind: "loaded", reason, ...base };
}

/** Made-up inputs: values spread over -1..1 for floats, zeros for integers. */
function syntheticFeeds(model: OnnxModel, size: number): Feeds | undefined {
  const feeds: Feeds = {};
  for (const { name, type, dims } of modelInputs(model)) {
    if (type === undefined || dims === undefined) return undefined;
    const shape = dims.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? 1 : size));
    const data: ElementArray = new ELEMENT_ARRAYS[type](elementCount(shape));
    if (data instanceof Float32Array || data instanceof Float64Array) {
      // Weyl sequence: spread evenly, the same every time.
      for (let i = 0; i < data.length; i += 1) data[i] = 2 * ((i * 0.6180339887498949) % 1) - 1;
    }
    feeds[name] = { data, dims: shape };
  }
  return feeds;
}

/**
 * Largest `max |a - b| / max |a|` over the float32 and float64 outputs. Integers (class numbers) may
 * change with a last bit and are not judged.
 *
 * @throws NumericalError beyond the tolerance, or when only one of the two is finite somewhere.
 */
export function outputDifference(
  want: Record<string, TypedHostTensor>,
  got: Record<string, TypedHostTensor>,
): number {
  let worst = 0;
  for (const [name, { data: expectedData }] of Object.entries(want)) {
    const data = got[name]?.data;
    if (!(expectedData instanceof Float32Array || expectedData instanceof Float64Array)) continue;
    const fail = (what: string): NumericalError =>
      new NumericalError(
        "NOT_CONVERGED",
        `quantizeOnnx: the written file does not compute what its weights say: output ${JSON.stringify(name)} ${what}. Nothing was kept; please report this`,
        { details: { output: name, tolerance: CHECK_TOLERANCE } },
      );
    if (data?.length !== expectedData.length) throw fail("has another shape");
    let largest = 0;
    let difference = 0;
    for (let i = 0; i < expectedData.length; i += 1) {
      const [a, b] = [Number(expectedData[i]), Number(data[i])];
      if (Object.is(a, b)) continue; // NaN and infinities that agree
      if (!Number.isFinite(a) || !Number.isFinite(b)) throw fail(`is ${b} instead of ${a} at ${i}`);
      difference = Math.max(difference, Math.abs(a - b));
    }
    for (const value of expectedData) {
      if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
    }
    const relative = difference === 0 ? 0 : difference / Math.max(largest, Number.MIN_VALUE);
    if (!(relative <= CHECK_TOLERANCE)) {
      throw fail(`differs by ${relative.toExponential(2)} of its largest value`);
    }
    worst = Math.max(worst, relative);
  }
  return worst;
}
