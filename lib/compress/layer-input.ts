import { type Progress, run, runSync, type Task } from "../binding/index.js";
import { InputGram } from "../curvature/index.js";
import { ArgumentError, DeviceError, NumericalError, expected } from "../errors.js";
import { checkSameDevice, checkTensor } from "../ops/check.js";
import { findNonFiniteTask } from "../ops/find-non-finite.js";
import type { Tensor } from "../tensor/index.js";

/** Checks a weight matrix: `[out, in]` float32, no NaN or Inf. */
export function* checkWeight(fn: string, W: unknown, name: string | undefined): Task<Tensor> {
  checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
  const { count, index } = yield* findNonFiniteTask(fn, W);
  if (count > 0) {
    const [row, column] = [Math.floor(index / (W.shape[1] ?? 1)), index % (W.shape[1] ?? 1)];
    throw new NumericalError(
      "NON_FINITE",
      `${fn}: expected finite weights but ${name ?? "W"} has ${count} NaN or Inf, the first at [${row}, ${column}]`,
      { details: { name, index, row, column, count } },
    );
  }
  return W;
}

/** The Gram matrix of a layer. */
export interface LayerGram {
  readonly matrix: Tensor;
  /** How many tokens are in it; undefined: a matrix was given, nobody counted. */
  readonly tokens: number | undefined;
}

/** What a pass needs to run; its other options are its own. */
export interface LayerOptions {
  readonly name?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Runs a pass on a weight and its gram: an `InputGram` (waits for its queue) or a matrix `[in, in]`, float32 or float64. The
 * weight and the gram's size are checked first.
 */
export async function withGram<T>(
  fn: string,
  W: Tensor,
  gram: InputGram | Tensor,
  options: LayerOptions,
  pass: (gram: LayerGram) => Task<T>,
): Promise<T> {
  await run(checkWeight(fn, W, options.name), options);
  checkGram(fn, W, gram);
  if (!(gram instanceof InputGram)) return run(pass({ matrix: gram, tokens: undefined }), options);
  const matrix = await gram.matrix();
  try {
    return await run(pass({ matrix, tokens: gram.count }), options);
  } finally {
    matrix.dispose();
  }
}

/** Like `withGram`, blocking; throws while an `add` of the gram is running. */
export function withGramSync<T>(
  fn: string,
  W: Tensor,
  gram: InputGram | Tensor,
  options: Pick<LayerOptions, "name">,
  pass: (gram: LayerGram) => Task<T>,
): T {
  runSync(checkWeight(fn, W, options.name));
  checkGram(fn, W, gram);
  if (!(gram instanceof InputGram)) return runSync(pass({ matrix: gram, tokens: undefined }));
  const matrix = gram.matrixSync();
  try {
    return runSync(pass({ matrix, tokens: gram.count }));
  } finally {
    matrix.dispose();
  }
}

function checkGram(fn: string, W: Tensor, gram: InputGram | Tensor): void {
  const columns = W.shape[1] ?? 0;
  if (gram instanceof InputGram) {
    if (gram.inFeatures !== columns) {
      const what = `a gram of ${columns} features, as W has columns`;
      throw new ArgumentError(expected(fn, what, "gram.inFeatures", gram.inFeatures));
    }
    checkDevices(fn, [W.device, gram.device]);
  } else {
    checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
    checkSameDevice(fn, { W, gram });
  }
}

function checkDevices(fn: string, [w, g]: readonly [string, string]): void {
  if (w === g) return;
  const message = `${fn}: expected tensors of one device but received W on ${w}, gram on ${g}`;
  throw new DeviceError("DEVICE_UNAVAILABLE", message);
}

/** @throws NumericalError `NO_TOKENS` when the gram counted none. */
export function checkTokens(fn: string, gram: LayerGram, name: string | undefined): void {
  if (gram.tokens !== 0) return;
  throw new NumericalError(
    "NO_TOKENS",
    `${fn}: expected calibration tokens in the gram${ofLayer(name)} but it has none: nothing is known about the layer's inputs`,
    { details: { name } },
  );
}

/** @throws NumericalError `NO_TOKENS` when all of the columns are dead. */
export function checkLiveColumns(
  fn: string,
  dead: number,
  columns: number,
  name: string | undefined,
): void {
  if (columns === 0 || dead < columns) return;
  throw new NumericalError(
    "NO_TOKENS",
    `${fn}: the matrix${ofLayer(name)} is all zero: the layer saw no input, nothing is known about it`,
    { details: { name } },
  );
}

function ofLayer(name: string | undefined): string {
  return name === undefined ? "" : ` of layer ${name}`;
}
