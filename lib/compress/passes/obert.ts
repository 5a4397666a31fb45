import { kernel, run, runSync, type Task } from "../../binding/index.js";
import { BlockFisher } from "../../curvature/block-fisher.js";
import { ArgumentError, ShapeError, expected } from "../../errors.js";
import { binary } from "../../ops/binary.js";
import { checkInteger, checkNumber } from "../../ops/check.js";
import { choleskyOperation, solveTriangularOperation } from "../../ops/cholesky.js";
import { pad } from "../../ops/copy.js";
import { matmul } from "../../ops/matmul.js";
import { operate } from "../../ops/operation-task.js";
import { reduce } from "../../ops/reduce.js";
import { unary } from "../../ops/unary.js";
import { item } from "../../ops/tensor-mean.js";
import { Tensor } from "../../tensor/index.js";
import { startMeasuring } from "../layer-report.js";
import type { PruneResult } from "../prune-report.js";
import { resolveFraction, zerosOf } from "../sparsity.js";
import {
  type Layer,
  type Masks,
  correct,
  countPruned,
  droppedNow,
  prunedFirst,
  saliency,
  selectAndPrune,
  surgeonReport,
  takeLayers,
} from "../surgeon.js";

export interface ObertOptions {
  /** Fraction of the weights that are zero afterwards. */
  readonly sparsity: number;
  /** Weights pruned before, `[out, in]` bool, 0 where they are: they stay zero and count to the target. */
  readonly masks?: Masks | undefined;
  /** Added to the diagonal of the Fisher matrix. Default 1e-7. */
  readonly damp?: number | undefined;
  /** Consecutive weights of a flattened tensor that go or stay together: 1, or 4 for "block4". It divides the block size and every size. Default 1. */
  readonly group?: number | undefined;
  /** One threshold for all layers together; false: each layer reaches the sparsity. Default true. */
  readonly global?: boolean | undefined;
  /** Added to 2 [F^-1]_ii in scores and to [F^-1]_ii in updates. Default 2^-23. */
  readonly eps?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One step of oBERT: removes the weights, or groups of weights, with the smallest saliency under the block-diagonal empirical
 * Fisher matrix, `1/2 w_Q^T ([F^-1]_QQ)^-1 w_Q`, and moves the others of their blocks by the sum of each one's best answer.
 *
 * @param weights `[out, in]` float32 each, finite, of one device. Not changed.
 * @param fishers the `BlockFisher` of each weight, over gradients whose pruned entries are zero.
 * @returns one result a layer; the caller disposes weights and masks. `report.tokens` is the number of gradients.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE`, `NO_TOKENS` (no gradients).
 * Cost: d blockSize^2 flops; 24 d blockSize bytes.
 * Source: Kurtic et al., "The Optimal BERT Surgeon", 2022. We differ: blocks are factored once, in float64.
 */
export async function obert(
  weights: readonly Tensor[],
  fishers: readonly BlockFisher[],
  options: ObertOptions,
): Promise<PruneResult[]> {
  return run(task("obert", weights, fishers, options), { signal: options.signal });
}

/** Like `obert`, blocking. */
export function obertSync(
  weights: readonly Tensor[],
  fishers: readonly BlockFisher[],
  options: Omit<ObertOptions, "signal">,
): PruneResult[] {
  return runSync(task("obertSync", weights, fishers, options));
}

function* task(
  fn: string,
  weights: readonly Tensor[],
  fishers: readonly BlockFisher[],
  options: ObertOptions,
): Task<PruneResult[]> {
  const target = resolveFraction(fn, options.sparsity);
  const { damp = 1e-7, group = 1, global = true, eps = 2 ** -23 } = options;
  if (typeof global !== "boolean")
    throw new ArgumentError(expected(fn, "a boolean", "global", global));
  checkInteger(fn, "group", group, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "eps", eps, ">= 0", (value) => value >= 0);
  const measured = startMeasuring();
  const layers = yield* takeLayers(fn, weights, options.masks);
  const held: Tensor[] = layers.map(({ mask }) => mask);
  const keep = <T extends Tensor>(tensor: T): T => {
    held.push(tensor);
    return tensor;
  };
  try {
    checkFishers(fn, layers, fishers, group);
    const flat = layers.map(({ weight, mask }) => ({
      weight: keep(lineOf(weight)),
      mask: keep(lineOf(mask) as Tensor<"bool">),
    }));
    const inverses: Tensor<"float64">[] = [];
    const scores: Tensor[] = [];
    for (const [i, fisher] of fishers.entries()) {
      const inverse = keep(yield* fisher.inverses(fn, damp));
      inverses.push(inverse);
      scores.push(keep(yield* scoresOf(fn, item(flat, i), inverse, group, eps)));
    }
    const before: number[] = [];
    for (const { mask } of flat) before.push(yield* countPruned(fn, mask));
    const lines = flat.map(({ weight }) => weight);
    const zeros = (size: number) => group * zerosOf(size / group, target.fraction);
    const chosen = yield* selectAndPrune(fn, lines, scores, before, global, zeros);
    for (const one of chosen) {
      keep(one.weight);
      keep(one.mask);
    }
    const results: PruneResult[] = [];
    for (const [i, layer] of layers.entries()) {
      const [line, one, inverse] = [item(flat, i), item(chosen, i), item(inverses, i)];
      using dropped = droppedNow(fn, line.mask, one.mask);
      using change = yield* changeOf(fn, line.weight, dropped, inverse, group, eps);
      using corrected = correct(fn, line.weight, change, one.mask);
      const { shape, size } = layer.weight;
      results.push({
        weight: corrected.reshape(shape),
        mask: one.mask.reshape(shape),
        report: surgeonReport("obert", target, size, one.zeros, fishers[i]?.count ?? 0, measured()),
      });
    }
    return results;
  } finally {
    for (const tensor of held) tensor.dispose();
  }
}

function checkFishers(
  fn: string,
  layers: readonly Layer[],
  fishers: readonly BlockFisher[],
  group: number,
): void {
  if (!Array.isArray(fishers) || fishers.length !== layers.length)
    throw new ArgumentError(expected(fn, `${layers.length} Fisher matrices`, "fishers", fishers));
  layers.forEach(({ weight }, i) => {
    const fisher = (fishers as readonly BlockFisher[])[i];
    if (!(fisher instanceof BlockFisher))
      throw new ArgumentError(expected(fn, "a BlockFisher", `fishers[${i}]`, fisher));
    if (fisher.size !== weight.size)
      throw new ShapeError(
        expected(fn, `${weight.size} weights`, `fishers[${i}].size`, fisher.size),
      );
    if (weight.size % group !== 0 || fisher.blockSize % group !== 0) {
      const what = `a divisor of the ${weight.size} weights and the block size ${fisher.blockSize} of layer ${i}`;
      throw new ArgumentError(expected(fn, what, "group", group));
    }
  });
}

function lineOf(tensor: Tensor): Tensor {
  using copy = tensor.contiguous();
  return copy.reshape([tensor.size]);
}

/** A vector `[d]` as float64 `[blocks, width, 1]`, padded with zeros. */
function columns(fn: string, x: Tensor, inverse: Tensor): Tensor {
  const [blocks = 0, width = 0] = inverse.shape;
  using wide = x.toDType("float64");
  using padded = pad(fn, wide, 0, 0, blocks * width - x.size);
  return padded.reshape([blocks, width, 1]);
}

function firstOf(x: Tensor, size: number): Tensor {
  using line = x.reshape([x.size]);
  using part = line.slice(0, 0, size);
  return part.contiguous();
}

/** The diagonals of blocks `[blocks, width, width]`, `[d]` float64. */
function* diagonals(fn: string, inverse: Tensor, size: number): Task<Tensor> {
  const [blocks = 0, width = 0] = inverse.shape;
  const [owner, dtype, offset] = inverse.native(fn);
  using all = Tensor.empty([blocks, width], { dtype: "float64", device: inverse.device });
  yield* kernel(fn, "convert", inverse.device, {
    x: [owner, dtype, offset, [blocks, width], [width * width, width + 1]],
    y: all.native(fn),
  });
  return firstOf(all, size);
}

/** Cholesky factors of `[F^-1]_QQ` of every group, `[blocks, width/q, q, q]`. */
function* groupFactors(fn: string, inverse: Tensor, q: number): Task<Tensor<"float64">> {
  const [blocks = 0, width = 0] = inverse.shape;
  const [owner, dtype, offset] = inverse.native(fn);
  const shape = [blocks, width / q, q, q];
  using parts = Tensor.empty(shape, { dtype: "float64", device: inverse.device });
  yield* kernel(fn, "convert", inverse.device, {
    x: [owner, dtype, offset, shape, [width * width, q * (width + 1), width, 1]],
    y: parts.native(fn),
  });
  return yield* operate(choleskyOperation(fn, parts, {}));
}

function* scoresOf(
  fn: string,
  { weight, mask }: Layer,
  inverse: Tensor,
  q: number,
  eps: number,
): Task<Tensor> {
  if (q === 1) {
    using diagonal = yield* diagonals(fn, inverse, weight.size);
    return saliency(fn, weight, diagonal, mask, eps);
  }
  using factor = yield* groupFactors(fn, inverse, q);
  using column = columns(fn, weight, inverse);
  using grouped = column.reshape([...factor.shape.slice(0, 3), 1]) as Tensor<"float64">;
  const solve = solveTriangularOperation(fn, ["factor", "weights"], factor, grouped, {});
  using y = yield* operate(solve);
  using squares = unary(fn, "square", y);
  using sums = reduce(fn, "sum", squares, [2], 0.5);
  using spread = Tensor.zeros([q, 1], { dtype: "float64", device: weight.device });
  using repeated = binary(fn, "add", sums, spread);
  using scores = firstOf(repeated, weight.size);
  return prunedFirst(fn, scores, mask);
}

/** What is subtracted from all weights: F^-1 (and for each group ([F^-1]_QQ)^-1) of the weights that go. */
function* changeOf(
  fn: string,
  weight: Tensor,
  dropped: Tensor,
  inverse: Tensor,
  q: number,
  eps: number,
): Task<Tensor> {
  using wide = weight.toDType("float64");
  using going = binary(fn, "multiply", wide, dropped);
  using u = yield* answers(fn, going, inverse, q, eps);
  using change = matmul(inverse, u);
  return firstOf(change, weight.size);
}

function* answers(
  fn: string,
  going: Tensor,
  inverse: Tensor,
  q: number,
  eps: number,
): Task<Tensor> {
  if (q === 1) {
    using diagonal = yield* diagonals(fn, inverse, going.size);
    using divisor = unary(fn, "affine", diagonal, { alpha: 1, beta: eps });
    using u = binary(fn, "divide", going, divisor);
    return columns(fn, u, inverse);
  }
  using factor = yield* groupFactors(fn, inverse, q);
  using column = columns(fn, going, inverse);
  using grouped = column.reshape([...factor.shape.slice(0, 3), 1]) as Tensor<"float64">;
  const names = ["factor", "weights"] as const;
  using half = yield* operate(solveTriangularOperation(fn, names, factor, grouped, {}));
  const back = solveTriangularOperation(fn, names, factor, half, { transposed: true });
  using solved = yield* operate(back);
  return solved.reshape(column.shape);
}
