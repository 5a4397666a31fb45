import { run, type Task } from "../binding/index.js";
import { InputGram } from "../curvature/index.js";
import { ArgumentError, NumericalError, expected } from "../errors.js";
import { checkSameDevice, checkTensor } from "../ops/check.js";
import { findNonFiniteTask } from "../ops/find-non-finite.js";
import type { Tensor } from "../tensor/index.js";

/** Checks a weight matrix: `[out, in]` float32, no NaN or Inf. */
export function checkWeight(
  fn: string,
  W: unknown,
  name: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  return run(checkWeightTask(fn, W, name), { signal });
}

export function* checkWeightTask(fn: string, W: unknown, name: string | undefined): Task<Tensor> {
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

/** The Gram matrix of a layer, and how many tokens are in it (0: a matrix was given). */
export interface LayerGram {
  readonly matrix: Tensor;
  readonly tokens: number;
  /** Frees the matrix when it was made for this call. */
  release(): void;
}

/** Takes an `InputGram` (waits for its queue) or a matrix `[in, in]`, float32 or float64. */
export async function takeGram(
  fn: string,
  W: Tensor,
  gram: InputGram | Tensor,
  name: string | undefined,
): Promise<LayerGram> {
  checkGram(fn, W, gram);
  return gram instanceof InputGram
    ? tokensOf(fn, W, await gram.matrix(), gram.count, name)
    : { matrix: gram, tokens: 0, release: () => undefined };
}

/** Like `takeGram`, blocking; throws while an `add` of the gram is running. */
export function takeGramSync(
  fn: string,
  W: Tensor,
  gram: InputGram | Tensor,
  name: string | undefined,
): LayerGram {
  checkGram(fn, W, gram);
  return gram instanceof InputGram
    ? tokensOf(fn, W, gram.matrixSync(), gram.count, name)
    : { matrix: gram, tokens: 0, release: () => undefined };
}

function checkGram(fn: string, W: Tensor, gram: InputGram | Tensor): void {
  const columns = W.shape[1] ?? 0;
  if (!(gram instanceof InputGram)) {
    checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
    checkSameDevice(fn, { W, gram });
  } else if (gram.inFeatures !== columns) {
    throw new ArgumentError(
      expected(
        fn,
        `a gram of ${columns} features, as W has columns`,
        "gram.inFeatures",
        gram.inFeatures,
      ),
    );
  }
}

function tokensOf(
  fn: string,
  W: Tensor,
  matrix: Tensor,
  tokens: number,
  name: string | undefined,
): LayerGram {
  const release = () => {
    matrix.dispose();
  };
  try {
    checkSameDevice(fn, { W, gram: matrix });
    if (tokens === 0) {
      throw new NumericalError(
        "NO_TOKENS",
        `${fn}: expected calibration tokens in the gram${name === undefined ? "" : ` of layer ${name}`} but it has none: nothing is known about the layer's inputs`,
      );
    }
  } catch (error) {
    release();
    throw error;
  }
  return { matrix, tokens, release };
}
