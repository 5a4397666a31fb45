/** What goes into a job: its files and calibration data, with their hashes. */
import { createHash } from "node:crypto";
import { promises as fs, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { addon, packageVersion } from "../binding/index.js";
import { IoError } from "../errors.js";
import { isExternal, type OnnxModel, tensorsOf } from "../formats/onnx/index.js";
import { externalPlace } from "../formats/onnx/external.js";
import type { Feeds, HostTensor } from "../graph/element-types.js";
import { findOnnxRuntime } from "../graph/onnxruntime.js";
import type { SampleSource } from "../graph/samples.js";
import { kindOf, type ManifestFile, sha256File, toIoError } from "../io/index.js";

export type InputFile = ManifestFile & { readonly role: "model" | "external data" };

/** Size and hash of a file. */
export async function fileFacts(
  path: string,
  signal: AbortSignal | undefined,
): Promise<ManifestFile> {
  try {
    const { size } = await fs.stat(path);
    return { file: basename(path), bytes: size, sha256: await sha256File(path, { signal }) };
  } catch (cause) {
    throw toIoError("quantizeOnnx", "read", path, cause);
  }
}

/** Paths of the data files that a model names, with links resolved, sorted. */
export function externalFiles(model: OnnxModel): string[] {
  const files = new Set<string>();
  for (const tensor of tensorsOf(model.graph)) {
    if (isExternal(tensor)) files.add(externalPlace(model.path, tensor).file);
  }
  return [...files].sort();
}

/** The model file and its external data. */
export async function modelFiles(
  model: OnnxModel,
  signal: AbortSignal | undefined,
): Promise<InputFile[]> {
  const files: InputFile[] = [{ role: "model", ...(await fileFacts(model.path, signal)) }];
  for (const path of externalFiles(model)) {
    files.push({ role: "external data", ...(await fileFacts(path, signal)) });
  }
  return files;
}

/** Everything beside inputs and recipe that can change a bit of the result. */
export function jobEnvironment(options: {
  device: string;
  calibrated: boolean;
}): Record<string, string> {
  const { cpuPath, blas } = addon().info();
  return {
    osculate: packageVersion(),
    device: options.device,
    code_path: cpuPath,
    blas,
    ...(options.calibrated ? { onnxruntime: onnxRuntimeVersion() } : {}),
  };
}

/** The version of the onnxruntime-node that will be used. @throws BindingError when it is missing. */
export function onnxRuntimeVersion(): string {
  const entry = findOnnxRuntime("quantizeOnnx");
  return /onnxruntime-node@([^/\\]+)/.exec(entry)?.[1] ?? versionBeside(entry);
}

function versionBeside(entry: string): string {
  const folder = entry.slice(0, entry.lastIndexOf("onnxruntime-node") + "onnxruntime-node".length);
  const text = readText(resolve(folder, "package.json"));
  const { version } = JSON.parse(text ?? "{}") as { version?: string };
  return version ?? "unknown";
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** @throws IoError when a calibration path does not exist: better now than after other work. */
export async function checkSource(source: SampleSource): Promise<void> {
  if (typeof source !== "string" || (await kindOf(source)) !== undefined) return;
  throw new IoError(
    `quantizeOnnx: could not read the calibration data ${source}: no such file or folder`,
    { details: { path: source, errno: "ENOENT" } },
  );
}

/** What the manifest says of calibration data. */
export interface CalibrationFacts {
  /** The name of the file, folder or module; absent when a program gave the samples. */
  readonly source?: string;
  readonly batches: number;
  /** Of names, shapes and values of all batches. */
  readonly sha256: string;
}

/** Passes batches on, hashing them and keeping a copy of the first. */
export class WatchedSamples implements AsyncIterable<Feeds> {
  readonly #samples: AsyncIterable<Feeds>;
  readonly #source: string | undefined;
  readonly #hash = createHash("sha256");
  #batches = 0;
  #first: Feeds | undefined;
  #facts: CalibrationFacts | undefined;

  constructor(samples: AsyncIterable<Feeds>, source: SampleSource) {
    this.#samples = samples;
    this.#source = typeof source === "string" ? basename(resolve(source)) : undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Feeds, void> {
    for await (const feeds of this.#samples) {
      this.#add(feeds);
      yield feeds;
    }
    this.#facts = {
      ...(this.#source === undefined ? {} : { source: this.#source }),
      batches: this.#batches,
      sha256: this.#hash.digest("hex"),
    };
  }

  /** Reads what is left without using it. */
  async drain(): Promise<void> {
    const iterator = this[Symbol.asyncIterator]();
    while ((await iterator.next()).done !== true);
  }

  #add(feeds: Feeds): void {
    const entries = Object.entries(feeds).sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, { data, dims }] of entries) {
      this.#hash.update(JSON.stringify([name, dims, data.byteLength]));
      this.#hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    this.#batches += 1;
    this.#first ??= Object.fromEntries(
      entries.map(([name, { data, dims }]): [string, HostTensor] => [
        name,
        { data: data.slice(), dims },
      ]),
    );
  }

  /** Copy of the first batch. */
  get first(): Feeds | undefined {
    return this.#first;
  }

  /** Known once every batch was read. */
  get facts(): CalibrationFacts | undefined {
    return this.#facts;
  }
}
