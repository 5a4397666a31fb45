import { run, type Task } from "../../binding/index.js";
import { ArgumentError, expected } from "../../errors.js";
import { checkSameDevice, checkTensor } from "../../ops/check.js";
import { copyInto } from "../../ops/copy.js";
import type { Pruned } from "../../ops/prune.js";
import { item } from "../../ops/tensor-mean.js";
import { Tensor } from "../../tensor/index.js";
import { startMeasuring } from "../layer-report.js";
import type { PruneResult } from "../prune-report.js";
import { resolveFraction, zerosOf } from "../sparsity.js";
import {
  type Layer,
  type Masks,
  countPruned,
  prunedFirst,
  selectAndPrune,
  surgeonReport,
  takeLayers,
} from "../surgeon.js";

export interface ByScoresOptions {
  /** Fraction of the weights that are zero afterwards. */
  readonly sparsity: number;
  /** Weights pruned before: they stay zero and count to the target. */
  readonly masks?: Masks | undefined;
  /** For each layer: compared with the other "global" ones, or within each of its rows. Default "global" for all. */
  readonly scopes?: readonly ("global" | "row")[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sets the weights with the smallest scores to zero; the others stay as they are. With `madScores`: convolutions "global", linear
 * layers by "row", as published.
 *
 * @param weights `[out, in]` float32 each, finite, of one device. Not changed.
 * @param scores of each, of its shape, float32, no NaN; they may be negative.
 * @returns one result a layer; the caller disposes weights and masks.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE`.
 * Cost: eight passes over memory; a "row" layer some kernel calls a row.
 */
export async function pruneByScores(
  weights: readonly Tensor[],
  scores: readonly Tensor[],
  options: ByScoresOptions,
): Promise<PruneResult[]> {
  return run(task("pruneByScores", weights, scores, options), { signal: options.signal });
}

function* task(
  fn: string,
  weights: readonly Tensor[],
  scores: readonly Tensor[],
  options: ByScoresOptions,
): Task<PruneResult[]> {
  const target = resolveFraction(fn, options.sparsity);
  const { scopes = weights.map(() => "global" as const) } = options;
  if (
    scopes.length !== weights.length ||
    !scopes.every((scope) => ["global", "row"].includes(scope))
  ) {
    const what = `"global" or "row" for each of ${weights.length} layers`;
    throw new ArgumentError(expected(fn, what, "scopes", scopes));
  }
  const measured = startMeasuring();
  const layers = yield* takeLayers(fn, weights, options.masks);
  const held: Tensor[] = layers.map(({ mask }) => mask);
  const hold = <T extends Tensor>(tensor: T): T => {
    held.push(tensor);
    return tensor;
  };
  try {
    if (scores.length !== layers.length)
      throw new ArgumentError(expected(fn, `${layers.length} tensors`, "scores", scores.length));
    const ready = layers.map(({ weight, mask }, i) => {
      const own = item(scores, i);
      checkTensor(fn, `scores[${i}]`, own, ["float32"], weight.shape);
      checkSameDevice(fn, { weight, [`scores[${i}]`]: own });
      return { weight: hold(weight.contiguous()), mask, scores: hold(prunedFirst(fn, own, mask)) };
    });
    const zeros = (size: number) => zerosOf(size, target.fraction);
    const made: (Pruned & { zeros: number })[] = [];
    const together = ready.filter((_, i) => scopes[i] === "global");
    const before: number[] = [];
    for (const { mask } of together) before.push(yield* countPruned(fn, mask));
    const chosen =
      together.length === 0
        ? []
        : yield* selectAndPrune(
            fn,
            together.map(({ weight }) => weight),
            together.map((one) => one.scores),
            before,
            true,
            zeros,
          );
    let next = 0;
    for (const [i, one] of ready.entries())
      made.push(
        scopes[i] === "global" ? item(chosen, next++) : yield* pruneEachRow(fn, one, zeros),
      );
    return made.map(({ zeros: count, ...pruned }) => ({
      ...pruned,
      report: surgeonReport("scores", target, pruned.weight.size, count, 0, measured()),
    }));
  } finally {
    for (const tensor of held) tensor.dispose();
  }
}

function* pruneEachRow(
  fn: string,
  { weight, mask, scores }: Layer & { readonly scores: Tensor },
  zeros: (size: number) => number,
): Task<Pruned & { zeros: number }> {
  const [out = 0] = weight.shape;
  const rows = Array.from({ length: out }, (_, r) =>
    [weight, scores, mask].map((x) => x.slice(0, r, r + 1)),
  );
  const column = (k: number) => rows.map((row) => item(row, k));
  try {
    const before: number[] = [];
    for (const row of column(2)) before.push(yield* countPruned(fn, row));
    const chosen = yield* selectAndPrune(fn, column(0), column(1), before, false, zeros);
    const { shape, device } = weight;
    const joined = {
      weight: Tensor.empty(shape, { device }),
      mask: Tensor.empty(shape, { dtype: "bool", device }),
    };
    for (const [r, one] of chosen.entries())
      for (const key of ["weight", "mask"] as const) {
        using place = joined[key].slice(0, r, r + 1);
        copyInto(fn, one[key], place);
        one[key].dispose();
      }
    return { ...joined, zeros: chosen.reduce((sum, one) => sum + one.zeros, 0) };
  } finally {
    for (const views of rows) for (const view of views) view.dispose();
  }
}
