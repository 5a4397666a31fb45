/** Checking an output against its manifest, from the two alone. */
import { basename } from "node:path";
import { FormatError, OsculateError } from "../errors.js";
import { readOnnx } from "../formats/onnx/index.js";
import { findLayers, readWeight } from "../graph/layers.js";
import {
  kindOf,
  readManifest,
  resolveManifestFile,
  sha256File,
  throwIfAborted,
} from "../io/index.js";
import type { JobManifest, ManifestLayer, QuantizedManifestLayer } from "./job-manifest.js";
import { recomputeError, weightDigest } from "./layer-check.js";
import { relativeSquares } from "./layer-parts.js";
import { WeightReader } from "./read-back.js";

export interface VerifyOptions {
  /** Path of the output; its manifest lies beside it. */
  readonly output: string;
  /** Path of the original model: then the exact weight error of each layer is computed too. */
  readonly model?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onLayer?: ((layer: VerifiedLayer, index: number, total: number) => void) | undefined;
}

export interface VerifiedFile {
  readonly file: string;
  readonly ok: boolean;
  readonly sha256?: string;
  readonly problem?: string;
}

export interface VerifiedLayer {
  readonly name: string;
  readonly op: string;
  readonly ok: boolean;
  readonly bits: number;
  readonly groupSize: number;
  readonly method: string;
  /** What the estimate is of: the output error on the calibration data, or the weight error. */
  readonly kind: "activations" | "weights";
  /** The relative error estimated again from the weights in the file; see layer-check.ts. */
  readonly estimate?: number;
  /** The same estimate as the manifest has it. */
  readonly manifestEstimate: number;
  /** The exact errors that the job measured. */
  readonly relativeError?: number;
  readonly rtnRelativeError?: number;
  readonly manifestWeightError: number;
  /** `||W - Q||^2 / ||W||^2`, computed when the original model was given. */
  readonly weightError?: number;
  readonly problem?: string;
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly output: string;
  readonly files: readonly VerifiedFile[];
  readonly layers: readonly VerifiedLayer[];
  /** Every problem in words. */
  readonly problems: readonly string[];
}

/** Sums of the same float64 products: only their last digits may differ between machines. */
const TOLERANCE = 1e-9;

const close = (a: number, b: number): boolean =>
  Math.abs(a - b) <= TOLERANCE * Math.max(Math.abs(a), Math.abs(b), Number.MIN_VALUE);

/**
 * Read an output and its manifest again and check: the hashes of all files; for every layer that its
 * weights are those that were written, and its error, computed anew. Nothing else is needed; with
 * `model` the weight error is computed exactly as well.
 *
 * A failed check is in the report, not an exception.
 *
 * @throws IoError, FormatError when the manifest or a file cannot be read at all; code "ABORTED".
 */
export async function verifyOnnx(options: VerifyOptions): Promise<VerifyReport> {
  const { output, signal } = options;
  const manifest = (await readManifest(output)) as JobManifest;
  if (!Array.isArray(manifest.layers)) {
    throw new FormatError(`verify: the manifest of ${output} has no list of layers`);
  }
  const problems: string[] = [];
  const files = await verifyFiles(manifest, output, signal);
  const first = manifest.outputs[0];
  if (first !== undefined && first.file !== basename(output)) {
    problems.push(`the manifest is of ${first.file}, not of ${basename(output)}`);
  }
  problems.push(
    ...files.flatMap(({ file, problem }) => (problem === undefined ? [] : [`${file}: ${problem}`])),
  );
  const layers = await verifyLayers(manifest, options, problems).catch((cause: unknown) => {
    // A damaged file: its hash says so above; what the format says of it is one problem more.
    if (!(cause instanceof FormatError)) throw cause;
    problems.push(cause.message);
    return [];
  });
  problems.push(
    ...layers.flatMap(({ name, problem }) =>
      problem === undefined ? [] : [`layer ${name}: ${problem}`],
    ),
  );
  return { ok: problems.length === 0, output, files, layers, problems };
}

async function verifyFiles(
  manifest: JobManifest,
  output: string,
  signal: AbortSignal | undefined,
): Promise<VerifiedFile[]> {
  const files: VerifiedFile[] = [];
  for (const { file, sha256 } of manifest.outputs) {
    const path = resolveManifestFile(output, file);
    if ((await kindOf(path)) !== "file") {
      files.push({ file, ok: false, problem: "it is missing" });
      continue;
    }
    const found = await sha256File(path, { signal });
    if (found === sha256) {
      files.push({ file, ok: true, sha256: found });
    } else {
      const problem = `its SHA-256 is ${found.slice(0, 16)}..., the manifest says ${sha256.slice(0, 16)}...`;
      files.push({ file, ok: false, sha256: found, problem });
    }
  }
  return files;
}

const isQuantized = (layer: ManifestLayer): layer is QuantizedManifestLayer =>
  layer.status === "quantized";

async function verifyLayers(
  manifest: JobManifest,
  { output, model, signal, onLayer }: VerifyOptions,
  problems: string[],
): Promise<VerifiedLayer[]> {
  const reader = new WeightReader(await readOnnx(output));
  const original = model === undefined ? undefined : await openOriginal(manifest, model, problems);
  const chosen = manifest.layers.filter(isQuantized);
  const verified: VerifiedLayer[] = [];
  for (const layer of chosen) {
    throwIfAborted("verify", signal);
    const result = await verifyLayer(layer, reader, original);
    verified.push(result);
    onLayer?.(result, verified.length, chosen.length);
    await new Promise(setImmediate);
  }
  return verified;
}

type Original = (layer: ManifestLayer) => Float32Array;

/** Reads weights of the original model, after checking that it is the one of the manifest. */
async function openOriginal(
  manifest: JobManifest,
  path: string,
  problems: string[],
): Promise<Original> {
  const wanted = manifest.inputs[0]?.sha256;
  if ((await sha256File(path)) !== wanted) {
    problems.push(`${path} is not the model that the manifest names (another SHA-256)`);
  }
  const model = await readOnnx(path);
  const layers = new Map(findLayers(model).map((layer) => [layer.name, layer]));
  return ({ name }) => {
    const layer = layers.get(name);
    if (layer === undefined) throw new FormatError(`verify: ${path} has no layer ${name}`);
    return readWeight(model, layer);
  };
}

async function verifyLayer(
  layer: QuantizedManifestLayer,
  reader: WeightReader,
  original: Original | undefined,
): Promise<VerifiedLayer> {
  const { check } = layer;
  const base = {
    name: layer.name,
    op: layer.op,
    bits: Number(layer["bits"]),
    groupSize: Number(layer["group_size"]),
    method: String(layer["codes_by"] ?? layer["method"]),
    kind: check.kind,
    manifestEstimate: check.error,
    manifestWeightError: layer.weight_error,
    ...(layer.relative_error === undefined ? {} : { relativeError: layer.relative_error }),
    ...(layer.rtn_relative_error === undefined
      ? {}
      : { rtnRelativeError: layer.rtn_relative_error }),
  };
  const found: { estimate?: number; weightError?: number } = {};
  const problems: string[] = [];
  try {
    const weight = await reader.read(layer);
    if ((await weightDigest(weight)) !== check.weights_sha256) {
      problems.push("its weights are not those that were written");
    }
    found.estimate = recomputeError(check, layer, weight);
    if (!close(found.estimate, check.error)) {
      problems.push(`its error is ${found.estimate}, the manifest says ${check.error}`);
    }
    if (original !== undefined) {
      found.weightError = await relativeSquares(original(layer), weight);
      if (!close(found.weightError, layer.weight_error)) {
        problems.push(
          `its weight error is ${found.weightError}, the manifest says ${layer.weight_error}`,
        );
      }
    }
  } catch (cause) {
    if (!(cause instanceof OsculateError)) throw cause;
    problems.push(cause.message);
  }
  const problem = problems.length === 0 ? {} : { problem: problems.join("; ") };
  return { ...base, ...found, ok: problems.length === 0, ...problem };
}
