/** Where calibration batches come from. */
import { promises as fs } from "node:fs";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ArgumentError, OsculateError, expected } from "../errors.js";
import { throwIfAborted, toIoError } from "../io/fs-errors.js";
import { untilAborted } from "./abort.js";
import type { Feeds } from "./element-types.js";
import type { ModelInput } from "./model-inputs.js";
import { checkSample, sampleDetails } from "./sample-check.js";
import { fileBatches, isSampleFile } from "./sample-files.js";

/** Batches as a program gives them: `{ inputName: { data, dims } }` each. */
export type Samples = Iterable<unknown> | AsyncIterable<unknown>;

/**
 * A path, batches, or a function that gives batches. The path is one of
 * - a .npz or .safetensors file: its arrays by input name, cut into batches along the first axis;
 * - a folder of such files, read in the order of their names; other files in it are ignored;
 * - a JavaScript module whose default export is batches or such a function. It is the user's code and
 *   runs as such.
 */
export type SampleSource = string | Samples | (() => Samples | Promise<Samples>);

export interface SampleOptions {
  /** Samples per batch for files; default: as many as the model fixes, else one batch per file. */
  batchSize?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Gives the batches of a source one by one, each checked against the inputs of the model
 * (`modelInputs`). Nothing is read ahead.
 *
 * Errors, with `details.reason` "calibration": ArgumentError (not iterable, no batch at all, a missing or
 * unknown input, an error of the user's code as `cause`), DTypeError, ShapeError; each names the batch,
 * counted from 0. IoError and FormatError for files. Code ABORTED.
 */
export async function* readSamples(
  source: SampleSource,
  inputs: readonly ModelInput[],
  options: SampleOptions = {},
): AsyncGenerator<Feeds, void> {
  const { signal } = options;
  checkBatchSize(options.batchSize);
  throwIfAborted("calibration", signal);
  const batches = await untilAborted("calibration", openSource(source, inputs, options), signal);
  const iterator = iterate(batches);
  let done = false;
  try {
    for (let index = 0; ; index++) {
      throwIfAborted("calibration", signal);
      const step = await nextBatch(iterator, index, signal);
      if (step.done === true) {
        done = true;
        if (index > 0) return;
        throw new ArgumentError(expected("calibration", "at least one sample", "samples", 0), {
          details: sampleDetails(),
        });
      }
      yield checkSample(inputs, step.value, index);
    }
  } finally {
    // Not awaited: after an abort the user's generator may be busy for long.
    if (!done) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

type BatchIterator = Iterator<unknown> | AsyncIterator<unknown>;

async function nextBatch(
  iterator: BatchIterator,
  index: number,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<unknown>> {
  try {
    // A synchronous iterator may throw, and may give promises.
    const step = (async () => {
      const result = await iterator.next();
      return result.done === true ? result : { done: false, value: await result.value };
    })();
    return await untilAborted("calibration", step, signal);
  } catch (error) {
    throw userError(`sample ${index}`, error, index);
  }
}

function iterate(batches: Samples): BatchIterator {
  return Symbol.asyncIterator in batches
    ? batches[Symbol.asyncIterator]()
    : batches[Symbol.iterator]();
}

async function openSource(
  source: SampleSource,
  inputs: readonly ModelInput[],
  options: SampleOptions,
): Promise<Samples> {
  if (typeof source !== "string") return openValue(source, "samples");
  const path = resolve(source);
  const folder = await isFolder(path);
  if (folder) return filesBatches(await sampleFiles(path), inputs, options);
  if (isSampleFile(path)) return filesBatches([path], inputs, options);
  if (/^\.[cm]?[jt]s$/.test(extname(path))) return openValue(await loadModule(path), path);
  throw new ArgumentError(
    expected("calibration", "a .npz, .safetensors or JavaScript file or a folder", "path", source),
    { details: sampleDetails() },
  );
}

async function openValue(value: unknown, name: string): Promise<Samples> {
  let batches: unknown = value;
  if (typeof value === "function") {
    try {
      batches = await (value as () => unknown)();
    } catch (error) {
      throw userError(name, error);
    }
  }
  const iterable =
    batches !== null &&
    typeof batches === "object" &&
    (Symbol.asyncIterator in batches || Symbol.iterator in batches);
  if (iterable) return batches as Samples;
  const what = "an (async) iterable of samples, or a function that gives one,";
  throw new ArgumentError(expected("calibration", what, name, batches), {
    details: sampleDetails(),
  });
}

async function loadModule(path: string): Promise<unknown> {
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(path).href)) as typeof loaded;
  } catch (error) {
    throw userError(path, error);
  }
  return loaded.default;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await fs.stat(path)).isDirectory();
  } catch (cause) {
    throw toIoError("calibration", "read", path, cause);
  }
}

async function sampleFiles(folder: string): Promise<string[]> {
  const names = (await fs.readdir(folder)).filter(isSampleFile).sort();
  if (names.length > 0) return names.map((name) => join(folder, name));
  throw new ArgumentError(expected("calibration", ".npz or .safetensors files", folder, "none"), {
    details: sampleDetails(),
  });
}

async function* filesBatches(
  paths: readonly string[],
  inputs: readonly ModelInput[],
  options: SampleOptions,
): AsyncGenerator {
  for (const path of paths) yield* fileBatches(path, inputs, options);
}

/** What the user's code threw, with the place; our own errors pass through. */
function userError(where: string, error: unknown, index?: number): unknown {
  if (error instanceof OsculateError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new ArgumentError(`calibration: ${where} failed: ${text}`, {
    cause: error,
    details: sampleDetails(index),
  });
}

function checkBatchSize(batchSize: number | undefined): void {
  if (batchSize === undefined || (Number.isInteger(batchSize) && batchSize >= 1)) return;
  throw new ArgumentError(expected("calibration", "an integer >= 1", "batchSize", batchSize));
}
