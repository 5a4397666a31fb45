import { run, runSync, type Task } from "../../binding/index.js";
import { ArgumentError, expected } from "../../errors.js";
import { binary } from "../../ops/binary.js";
import { pruneRows } from "../../ops/prune.js";
import { select } from "../../ops/select.js";
import { item } from "../../ops/tensor-mean.js";
import { unary } from "../../ops/unary.js";
import { Tensor } from "../../tensor/index.js";
import { startMeasuring } from "../layer-report.js";
import type { PruneResult } from "../prune-report.js";
import { resolveFraction } from "../sparsity.js";
import {
  LARGEST,
  type Layer,
  type Masks,
  countPruned,
  prunedFirst,
  selectAndPrune,
  surgeonReport,
  takeLayers,
} from "../surgeon.js";

export interface GmpOptions {
  /** Fraction of the weights that are zero afterwards: round(sparsity d) of them, or as many as are pruned already. */
  readonly sparsity: number;
  /** Weights pruned before: they stay zero, whatever training made of them, and count to the target. */
  readonly masks?: Masks | undefined;
  /** One threshold for all layers together; false: each layer reaches the sparsity. Default true. */
  readonly global?: boolean | undefined;
  /** The largest weight of every row stays, so that no output is cut off. Default false. */
  readonly keepRows?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One step of gradual magnitude pruning (GMP*): the smallest of the weights that are left become zero, the pruned ones stay so.
 * `pruneGradually` makes the steps, with `cubicSparsity` and training in between.
 *
 * @param weights `[out, in]` float32 each, finite, of one device. Not changed.
 * @returns one result a layer; the caller disposes weights and masks.
 * @throws ShapeError, DTypeError, ArgumentError (also when `keepRows` leaves too few weights), DisposedError; NumericalError
 *   `NON_FINITE`.
 * Cost: ten passes over the weights; nothing is sorted.
 * Source: Zhu, Gupta, "To prune, or not to prune", 2017; Kurtic, Alistarh, "GMP*", 2022.
 */
export async function gmp(weights: readonly Tensor[], options: GmpOptions): Promise<PruneResult[]> {
  return run(task("gmp", weights, options), { signal: options.signal });
}

/** Like `gmp`, blocking. */
export function gmpSync(
  weights: readonly Tensor[],
  options: Omit<GmpOptions, "signal">,
): PruneResult[] {
  return runSync(task("gmpSync", weights, options));
}

function* task(fn: string, weights: readonly Tensor[], options: GmpOptions): Task<PruneResult[]> {
  const target = resolveFraction(fn, options.sparsity);
  const { global = true, keepRows = false } = options;
  for (const [name, value] of Object.entries({ global, keepRows }))
    if (typeof value !== "boolean") throw new ArgumentError(expected(fn, "a boolean", name, value));
  const measured = startMeasuring();
  const layers = yield* takeLayers(fn, weights, options.masks);
  const held: Tensor[] = layers.map(({ mask }) => mask);
  const hold = <T extends Tensor>(tensor: T): T => {
    held.push(tensor);
    return tensor;
  };
  try {
    const dense = layers.map(({ weight }) => hold(weight.contiguous()));
    const scores: Tensor[] = [];
    for (const layer of layers) scores.push(hold(yield* scoresOf(fn, layer, keepRows)));
    const before: number[] = [];
    for (const { mask } of layers) before.push(yield* countPruned(fn, mask));
    const zeros = (size: number, group: readonly number[]) => {
      const rows = group.reduce((sum, i) => sum + (layers[i]?.weight.shape[0] ?? 0), 0);
      const [count, most] = [Math.round(size * target.fraction), keepRows ? size - rows : size];
      if (count <= most) return count;
      const what = `at most ${most} of ${size} weights to prune, with one to stay in every row,`;
      throw new ArgumentError(expected(fn, what, "sparsity", target.fraction));
    };
    const chosen = yield* selectAndPrune(fn, dense, scores, before, global, zeros);
    return layers.map(({ weight }, i) => {
      const { zeros: count, ...one } = item(chosen, i);
      return { ...one, report: surgeonReport("gmp", target, weight.size, count, 0, measured()) };
    });
  } finally {
    for (const tensor of held) tensor.dispose();
  }
}

/** |w|; what was pruned before goes first, and a largest weight of each row last when it is to stay. */
function* scoresOf(
  fn: string,
  { weight, mask }: Layer,
  keepRows: boolean,
): Task<Tensor<"float32">> {
  using size = unary(fn, "abs", weight);
  if (!keepRows || weight.size === 0) return prunedFirst(fn, size, mask);
  using kept = mask.toDType("float32");
  using visible = binary(fn, "multiply", weight, kept);
  const top = yield* pruneRows(fn, visible, undefined, { zeros: (weight.shape[1] ?? 1) - 1 });
  using first = top.mask;
  top.weight.dispose();
  using huge = Tensor.from([LARGEST], [1, 1], { device: weight.device });
  using scores = select(fn, first, huge, size);
  return prunedFirst(fn, scores, mask);
}
