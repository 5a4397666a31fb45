import { ArgumentError, ShapeError, abortError, expected } from "../errors.js";
import { type Parameter, parameterList } from "../nn/parameter.js";
import { checkNumber, checkTensor } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { item } from "../ops/tensor-mean.js";
import { Tensor } from "../tensor/index.js";
import type { PruneReport, PruneResult } from "./prune-report.js";

/** A pruning that has just been made. */
export interface GradualStep {
  /** From 0. */
  readonly step: number;
  /** The target. */
  readonly sparsity: number;
  /** One for each parameter. */
  readonly reports: readonly PruneReport[];
}

/** Masks by the names of parameters: bool, of their shapes, 1 where a weight is kept. */
export type NamedMasks = ReadonlyMap<string, Tensor<"bool">>;

export interface GradualOptions {
  /** The target of each pruning, ascending, 0 to 1: of `cubicSparsity` or `geometricSparsities`. */
  readonly sparsities: readonly number[];
  /**
   * Prunes to a target: one of the pruners of several layers, such as `gmp`, `mfac` (with new gradients) or `obert`.
   *
   * @param weights `[out, the rest]` views of the parameters as they are now.
   * @param masks of what is pruned already; what is 0 must stay 0.
   */
  readonly prune: (
    weights: readonly Tensor[],
    options: {
      readonly sparsity: number;
      readonly masks: readonly Tensor<"bool">[] | undefined;
      readonly step: number;
    },
  ) => Promise<readonly PruneResult[]>;
  /** Trains on until the next pruning, or to the end after the last, the masks held: by `optimizer.setMasks(masks)`. */
  readonly train: (masks: NamedMasks, step: GradualStep) => Promise<void> | void;
  readonly signal?: AbortSignal | undefined;
}

export interface GradualResult {
  /** The caller disposes them. */
  readonly masks: NamedMasks;
  readonly steps: readonly GradualStep[];
}

/**
 * Prunes parameters in place, step by step, with training after each. Masks only lose ones: a pruner that lets a weight grow back
 * is an error, as is training that does.
 *
 * @param parameters float32 of rank 2 or more, the weights to prune; usually all but embeddings and the last layer.
 * @throws ArgumentError, ShapeError, DTypeError; what `prune` and `train` throw; `ABORTED` between steps. The parameters are then
 *   as the last step left them.
 *
 * @example
 * const schedule = { initial: 0.5, final: 0.9, begin: 0, end: 9 };
 * const sparsities = Array.from({ length: 10 }, (_, t) => cubicSparsity(schedule, t));
 * const { masks } = await pruneGradually(weights, { sparsities, prune: gmp, train });
 */
export async function pruneGradually(
  parameters: Iterable<Parameter>,
  options: GradualOptions,
): Promise<GradualResult> {
  const fn = "pruneGradually";
  const { sparsities, prune, train, signal } = options;
  const list = parameterList(fn, parameters);
  for (const { name, tensor } of list) {
    checkTensor(fn, name, tensor, ["float32"], tensor.shape);
    if (tensor.rank < 2 || !tensor.isContiguous)
      throw new ShapeError(expected(fn, "a contiguous matrix or more", name, tensor.shape));
  }
  checkSparsities(fn, sparsities);
  const steps: GradualStep[] = [];
  let masks: Map<string, Tensor<"bool">> | undefined;
  try {
    for (const [step, sparsity] of sparsities.entries()) {
      if (signal?.aborted) throw abortError(fn, signal);
      const now = await pruneOnce(fn, list, masks, (weights, flat) =>
        prune(weights, { sparsity, masks: flat, step }),
      );
      for (const mask of masks?.values() ?? []) mask.dispose();
      masks = now.masks;
      const done = { step, sparsity, reports: now.reports };
      steps.push(done);
      await train(masks, done);
      await checkHeld(fn, list, masks);
    }
    return { masks: masks ?? new Map(), steps };
  } catch (error) {
    for (const mask of masks?.values() ?? []) mask.dispose();
    throw error;
  }
}

function checkSparsities(fn: string, sparsities: readonly number[]): void {
  if (!Array.isArray(sparsities) || sparsities.length === 0)
    throw new ArgumentError(expected(fn, "one target or more", "sparsities", sparsities));
  let last = 0;
  for (const [i, sparsity] of (sparsities as readonly number[]).entries()) {
    checkNumber(fn, `sparsities[${i}]`, sparsity, `${last} to 1`, (s) => s >= last && s <= 1);
    last = sparsity;
  }
}

const matrixOf = <D extends "float32" | "bool">(tensor: Tensor<D>): Tensor<D> =>
  tensor.reshape([tensor.shape[0] ?? 0, tensor.shape.slice(1).reduce((a, b) => a * b, 1)]);

async function pruneOnce(
  fn: string,
  list: readonly Parameter[],
  before: NamedMasks | undefined,
  prune: (
    weights: readonly Tensor[],
    masks: readonly Tensor<"bool">[] | undefined,
  ) => Promise<readonly PruneResult[]>,
): Promise<{ masks: Map<string, Tensor<"bool">>; reports: readonly PruneReport[] }> {
  const views = list.map(({ tensor }) => matrixOf(tensor as Tensor<"float32">));
  const flat = before && [...before.values()].map(matrixOf);
  let results: readonly PruneResult[] = [];
  try {
    results = await prune(views, flat);
    if (results.length !== list.length)
      throw new ArgumentError(expected(fn, `${list.length} results`, "prune", results.length));
    for (const [i, { mask }] of results.entries()) {
      const old = flat?.[i];
      if (old !== undefined && (await grewBack(old, mask)))
        throw new ArgumentError(
          `${fn}: prune let pruned weights of ${item(list, i).name} grow back`,
        );
    }
    const masks = new Map<string, Tensor<"bool">>();
    for (const [i, { weight, mask }] of results.entries()) {
      const { name, tensor } = item(list, i);
      copyInto(fn, weight, item(views, i));
      masks.set(name, mask.reshape(tensor.shape));
    }
    return { masks, reports: results.map(({ report }) => report) };
  } finally {
    for (const view of [...views, ...(flat ?? [])]) view.dispose();
    for (const { weight, mask } of results) {
      weight.dispose();
      mask.dispose();
    }
  }
}

async function grewBack(before: Tensor, after: Tensor): Promise<boolean> {
  const [old, now] = await Promise.all([before.data(), after.data()]);
  return old.some((keep, i) => Number(keep) === 0 && Number(now[i]) !== 0);
}

/** @internal Throws when training has not left zeros where the masks are 0. */
export async function checkHeld(
  fn: string,
  list: readonly Parameter[],
  masks: NamedMasks,
): Promise<void> {
  for (const { name, tensor } of list) {
    const mask = masks.get(name);
    if (mask === undefined) continue;
    const [weights, keep] = await Promise.all([tensor.data(), mask.data()]);
    const at = keep.findIndex((one, i) => one === 0 && Number(weights[i]) !== 0);
    if (at >= 0)
      throw new ArgumentError(
        `${fn}: expected train to hold the masks but weight ${at} of ${name} was pruned and is ${Number(weights[at])}: use optimizer.setMasks(masks)`,
      );
  }
}
