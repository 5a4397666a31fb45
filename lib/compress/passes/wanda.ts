import type { Task } from "../../binding/index.js";
import type { InputGram } from "../../curvature/index.js";
import { NumericalError } from "../../errors.js";
import { diagonal } from "../../ops/diagonal.js";
import { pruneRows } from "../../ops/prune.js";
import { Tensor } from "../../tensor/index.js";
import {
  type LayerGram,
  checkLiveColumns,
  checkTokens,
  withGram,
  withGramSync,
} from "../layer-input.js";
import { startMeasuring } from "../layer-report.js";
import { type PruneOptions, type PruneResult, countZeros, pruneErrors } from "../prune-report.js";
import {
  type Sparsity,
  type SparsityOptions,
  resolveSparsity,
  rowZeros,
  sparsityWarnings,
  zerosOfRow,
} from "../sparsity.js";
import { rowMagnitude } from "./magnitude.js";

export type WandaOptions = PruneOptions & SparsityOptions;

/**
 * Prunes within each row the weights with the smallest |w_ij| * ||x_j||, x_j the layer's j-th input over the calibration data.
 * Weights that stay are not changed.
 *
 * @param W `[out, in]` float32, finite, any strides. Not changed.
 * @param gram what the layer's inputs look like: an `InputGram`, or a matrix `[in, in]`; only its diagonal decides (the whole
 *   of it is used for the errors of the report).
 * @param options `sparsity` (floor(in * sparsity) weights of each row) or `pattern`, and see `PruneOptions`.
 * @returns pruned weight, mask and report; the caller disposes weight and mask.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError before any work; NumericalError `NON_FINITE`, `NO_TOKENS`.
 * Cost: one pass over the weights.
 * Source: Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models", 2023.
 *
 * @example
 * const { weight, mask, report } = await wanda(W, gram, { pattern: "2:4" });
 */
export async function wanda(
  W: Tensor,
  gram: InputGram | Tensor,
  options: WandaOptions,
): Promise<PruneResult> {
  const fn = "wanda";
  const target = resolveSparsity(fn, options);
  const measured = startMeasuring();
  return withGram(fn, W, gram, options, (taken) => task(fn, W, taken, target, options, measured));
}

/** Like `wanda`, blocking. */
export function wandaSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<WandaOptions, "signal">,
): PruneResult {
  const fn = "wandaSync";
  const target = resolveSparsity(fn, options);
  const measured = startMeasuring();
  const pass = (taken: LayerGram) => task(fn, W, taken, target, options, measured);
  return withGramSync(fn, W, gram, options, pass);
}

function* task(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  target: Sparsity,
  options: WandaOptions,
  measured: ReturnType<typeof startMeasuring>,
): Task<PruneResult> {
  checkTokens(fn, gram, options.name);
  const [out = 0, columns = 0] = W.shape;
  const norms = yield* inputNorms(fn, gram.matrix, options.name);
  const scale = Tensor.from(norms, [columns], { device: W.device });
  try {
    const pruned = yield* pruneRows(fn, W, scale, rowZeros(target, columns));
    try {
      const { report = "sampled" } = options;
      const baseline = () => rowMagnitude(fn, W, target);
      const errors = yield* pruneErrors(fn, gram.matrix, W, pruned.weight, baseline, report);
      const dead = norms.filter((norm) => norm === 0).length;
      return {
        weight: pruned.weight,
        mask: pruned.mask,
        report: {
          method: "wanda",
          ...countZeros(target, W.size, out * zerosOfRow(target, columns)),
          ...errors,
          tokens: gram.tokens ?? 0,
          warnings: [
            ...sparsityWarnings(target, columns),
            ...(dead > 0
              ? [`${dead} of ${columns} columns never saw an input other than zero`]
              : []),
          ],
          ...measured(),
        },
      };
    } catch (error) {
      pruned.weight.dispose();
      pruned.mask.dispose();
      throw error;
    }
  } finally {
    scale.dispose();
  }
}

/** sqrt(H_jj): the length of each input, up to a factor that is the same for all. */
function* inputNorms(fn: string, matrix: Tensor, name: string | undefined): Task<Float32Array> {
  const squares = yield* diagonal(fn, matrix);
  const layer = name === undefined ? "the gram" : `the gram of layer ${name}`;
  const bad = squares.findIndex((value) => !(value >= 0 && value < Infinity));
  if (bad >= 0) {
    throw new NumericalError(
      "NON_FINITE",
      `${fn}: expected a diagonal that is finite and >= 0 but ${layer} has ${squares[bad] ?? NaN} in column ${bad}`,
      { details: { index: bad, name } },
    );
  }
  const dead = squares.filter((value) => value === 0).length;
  checkLiveColumns(fn, dead, squares.length, name);
  return Float32Array.from(squares, Math.sqrt);
}
