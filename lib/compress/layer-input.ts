import { InputGram } from "../curvature/index.js";
import { ArgumentError, NumericalError, expected } from "../errors.js";
import { checkSameDevice, checkTensor } from "../ops/check.js";
import { findNonFinite } from "../ops/find-non-finite.js";
import type { Tensor } from "../tensor/index.js";

/** Checks a weight matrix: `[out, in]` float32, no NaN or Inf. */
export async function checkWeight(
  fn: string,
  W: unknown,
  name: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
  const { count, index } = await findNonFinite(W, { signal });
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
  const columns = W.shape[1] ?? 0;
  const label = name === undefined ? "" : ` of layer ${name}`;
  if (gram instanceof InputGram) {
    if (gram.inFeatures !== columns) {
      throw new ArgumentError(
        expected(
          fn,
          `a gram of ${columns} features, as W has columns`,
          "gram.inFeatures",
          gram.inFeatures,
        ),
      );
    }
    const matrix = await gram.matrix();
    checkSameDevice(fn, { W, gram: matrix });
    const release = () => {
      matrix.dispose();
    };
    if (gram.count === 0) {
      release();
      throw new NumericalError(
        "NO_TOKENS",
        `${fn}: expected calibration tokens in the gram${label} but it has none: nothing is known about the layer's inputs`,
      );
    }
    return { matrix, tokens: gram.count, release };
  }
  checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
  checkSameDevice(fn, { W, gram });
  return { matrix: gram, tokens: 0, release: () => undefined };
}
