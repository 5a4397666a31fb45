import { run, runSync, type Task } from "../../binding/index.js";
import { ColumnStatistics, type InputGram } from "../../curvature/index.js";
import { NumericalError } from "../../errors.js";
import { diagonal } from "../../ops/diagonal.js";
import { pruneRows } from "../../ops/prune.js";
import { Tensor } from "../../tensor/index.js";
import { checkStatistics } from "../column-scale.js";
import {
  type LayerGram,
  checkLiveColumns,
  checkTokens,
  checkWeight,
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
 * @param inputs what the layer's inputs look like: `ColumnStatistics`, an `InputGram`, or a matrix `[in, in]`. Only the diagonal
 *   decides; the whole matrix gives the report its errors, which `ColumnStatistics` cannot.
 * @param options `sparsity` (floor(in * sparsity) weights of each row) or `pattern`, and see `PruneOptions`.
 * @returns pruned weight, mask and report; the caller disposes weight and mask.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError before any work; NumericalError `NON_FINITE`, `NO_TOKENS`.
 * Cost: one pass over the weights.
 * Source: Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models", 2023.
 *
 * @example
 * const { weight, mask, report } = await wanda(W, statistics, { pattern: "2:4" });
 */
export async function wanda(
  W: Tensor,
  inputs: InputGram | ColumnStatistics | Tensor,
  options: WandaOptions,
): Promise<PruneResult> {
  const fn = "wanda";
  const pass = start(fn, W, options);
  if (!(inputs instanceof ColumnStatistics)) return withGram(fn, W, inputs, options, pass);
  await run(checkWeight(fn, W, options.name), { signal: options.signal });
  checkStatistics(fn, inputs, W.shape[1] ?? 0);
  const { meanSquare } = await inputs.moments();
  return run(pass({ tokens: inputs.count, squares: meanSquare }), { signal: options.signal });
}

/** Like `wanda`, blocking. */
export function wandaSync(
  W: Tensor,
  inputs: InputGram | ColumnStatistics | Tensor,
  options: Omit<WandaOptions, "signal">,
): PruneResult {
  const fn = "wandaSync";
  const pass = start(fn, W, options);
  if (!(inputs instanceof ColumnStatistics)) return withGramSync(fn, W, inputs, options, pass);
  runSync(checkWeight(fn, W, options.name));
  checkStatistics(fn, inputs, W.shape[1] ?? 0);
  return runSync(pass({ tokens: inputs.count, squares: inputs.momentsSync().meanSquare }));
}

/** The whole Gram matrix, or its diagonal alone, up to a factor. */
type Inputs = LayerGram | { readonly tokens: number; readonly squares: Float64Array };

function start(
  fn: string,
  W: Tensor,
  options: WandaOptions,
): (inputs: Inputs) => Task<PruneResult> {
  const target = resolveSparsity(fn, options);
  const measured = startMeasuring();
  return (inputs) => task(fn, W, inputs, target, options, measured);
}

function* task(
  fn: string,
  W: Tensor,
  inputs: Inputs,
  target: Sparsity,
  options: WandaOptions,
  measured: ReturnType<typeof startMeasuring>,
): Task<PruneResult> {
  const matrix = "matrix" in inputs ? inputs.matrix : undefined;
  if ("matrix" in inputs) checkTokens(fn, inputs, options.name);
  const [out = 0, columns = 0] = W.shape;
  const squares = "matrix" in inputs ? yield* diagonal(fn, inputs.matrix) : inputs.squares;
  const norms = inputNorms(fn, squares, options.name);
  const scale = Tensor.from(norms, [columns], { device: W.device });
  try {
    const pruned = yield* pruneRows(fn, W, scale, rowZeros(target, columns));
    try {
      const report = matrix ? (options.report ?? "sampled") : "none";
      const baseline = () => rowMagnitude(fn, W, target);
      const errors = yield* pruneErrors(fn, matrix, W, pruned.weight, baseline, report);
      const dead = norms.filter((norm) => norm === 0).length;
      return {
        weight: pruned.weight,
        mask: pruned.mask,
        report: {
          method: "wanda",
          ...countZeros(target, W.size, out * zerosOfRow(target, columns)),
          ...errors,
          tokens: inputs.tokens ?? 0,
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
function inputNorms(fn: string, squares: Float64Array, name: string | undefined): Float32Array {
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
