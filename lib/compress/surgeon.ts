/** What pruners of several layers share: scores of flat weights, masks that stay, one selection over all of them, one correction. */
import { kernel, type Task } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { binary } from "../ops/binary.js";
import { checkSameDevice, checkTensor } from "../ops/check.js";
import { type Pruned, pruneBelow } from "../ops/prune.js";
import { select } from "../ops/select.js";
import { selectSmallest } from "../ops/select-smallest.js";
import { item } from "../ops/tensor-mean.js";
import { unary } from "../ops/unary.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkWeight } from "./layer-input.js";
import { type PruneReport, countZeros } from "./prune-report.js";
import type { Sparsity } from "./sparsity.js";

/** The largest float32. */
export const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** One layer: its weight as `[out, in]` float32 and its mask, bool, 1 where the weight is still there. */
export interface Layer {
  readonly weight: Tensor;
  readonly mask: Tensor<"bool">;
}

/** Weights pruned before, `[out, in]` bool, 0 where they are; undefined: none. */
export type Masks = readonly (Tensor | undefined)[];

/** Checks weights and masks, and makes masks of ones where there are none. The caller disposes the masks. */
export function* takeLayers(
  fn: string,
  weights: readonly Tensor[],
  masks: Masks | undefined,
): Task<Layer[]> {
  if (!Array.isArray(weights) || weights.length === 0)
    throw new ArgumentError(expected(fn, "one weight or more", "weights", weights));
  if (masks !== undefined && masks.length !== weights.length)
    throw new ArgumentError(expected(fn, `${weights.length} masks`, "masks", masks));
  for (const [index, weight] of (weights as readonly Tensor[]).entries()) {
    yield* checkWeight(fn, weight, `weights[${index}]`);
    checkSameDevice(fn, { "weights[0]": weights[0] as Tensor, [`weights[${index}]`]: weight });
    const mask = masks?.[index];
    if (mask) {
      checkTensor(fn, `masks[${index}]`, mask, ["bool"], weight.shape);
      checkSameDevice(fn, { weight, mask });
    }
  }
  return (weights as readonly Tensor[]).map((weight, index) => ({
    weight,
    mask: masks?.[index]?.contiguous() ?? ones(weight),
  })) as Layer[];
}

function ones({ shape, size, device }: Tensor): Tensor<"bool"> {
  return Tensor.from(new Uint8Array(size).fill(1), shape, { dtype: "bool", device });
}

/** `w^2 / (2 diagonal + eps)` as float32; weights pruned before go first. The caller disposes it. */
export function saliency(
  fn: string,
  weight: Tensor,
  diagonal: Tensor,
  mask: Tensor,
  eps: number,
): Tensor<"float32"> {
  using wide = weight.toDType("float64");
  using squares = unary(fn, "square", wide);
  using halves = unary(fn, "affine", diagonal, { alpha: 2, beta: eps });
  using scores = binary(fn, "divide", squares, halves);
  return prunedFirst(fn, scores, mask);
}

/** The scores of what is still there as float32, less than any number elsewhere. */
export function prunedFirst(fn: string, scores: Tensor, mask: Tensor): Tensor<"float32"> {
  using narrow = scores.toDType("float32");
  using least = Tensor.from([-LARGEST], [1], { device: scores.device });
  return select(fn, mask, narrow, least) as Tensor<"float32">;
}

/** How many values of a mask are 0. */
export function* countPruned(fn: string, mask: Tensor): Task<number> {
  if (mask.size === 0) return 0;
  const values = new Uint8Array(mask.size);
  const y = nativeArray(values, "bool", mask.shape);
  yield* kernel(fn, "convert", mask.device, { x: mask.native(fn), y });
  return values.reduce((sum, keep) => sum + Number(keep === 0), 0);
}

/**
 * Prunes the weights with the smallest scores, all together or each for itself; of equal ones the first.
 *
 * @param held how many of each are pruned already; never fewer are afterwards.
 * @param zeros how many of the weights of a group are pruned afterwards.
 */
export function* selectAndPrune(
  fn: string,
  weights: readonly Tensor[],
  scores: readonly Tensor[],
  held: readonly number[],
  together: boolean,
  zeros: (size: number, group: readonly number[]) => number,
): Task<(Pruned & { zeros: number })[]> {
  const made: (Pruned & { zeros: number })[] = [];
  const groups = together ? [weights.map((_, i) => i)] : weights.map((_, i) => [i]);
  try {
    for (const group of groups) {
      const size = group.reduce((sum, i) => sum + (weights[i]?.size ?? 0), 0);
      const before = group.reduce((sum, i) => sum + (held[i] ?? 0), 0);
      const count = Math.max(before, zeros(size, group));
      const chosen = group.map((i) => item(scores, i));
      const threshold = yield* selectSmallest(fn, chosen, count, { absolute: false });
      let { ties } = threshold;
      for (const i of group) {
        const one = yield* pruneBelow(fn, item(weights, i), scores[i], { ...threshold, ties });
        if (ties > 0) ties = Math.max(0, ties - one.equal);
        made.push({ weight: one.weight, mask: one.mask, zeros: one.zeros });
      }
    }
    return made;
  } catch (error) {
    for (const one of made) {
      one.weight.dispose();
      one.mask.dispose();
    }
    throw error;
  }
}

/** `before - after` as float64: 1 for the weights pruned just now. */
export function droppedNow(fn: string, before: Tensor, after: Tensor): Tensor {
  using a = before.toDType("float64");
  using b = after.toDType("float64");
  return binary(fn, "subtract", a, b);
}

/** `w - change` as float32, zero where pruned. */
export function correct(
  fn: string,
  weight: Tensor,
  change: Tensor,
  mask: Tensor,
): Tensor<"float32"> {
  using wide = weight.toDType("float64");
  using step = change.toDType("float64");
  using moved = binary(fn, "subtract", wide, step);
  using zero = Tensor.zeros([1], { dtype: "float64", device: weight.device });
  using kept = select(fn, mask, moved, zero);
  return kept.toDType("float32");
}

/** The report of a layer that was pruned with others. */
export function surgeonReport(
  method: string,
  target: Sparsity,
  size: number,
  zeros: number,
  gradients: number,
  cost: { milliseconds: number; peakBytes: number },
): PruneReport {
  return {
    method,
    ...countZeros(target, size, zeros),
    rows: "none",
    tokens: gradients,
    warnings: [],
    ...cost,
  };
}
