import { run, runSync, type Task } from "../../binding/index.js";
import { ArgumentError, expected } from "../../errors.js";
import { type Pruned, pruneBelow, pruneRows } from "../../ops/prune.js";
import { selectSmallest } from "../../ops/select-smallest.js";
import type { Tensor } from "../../tensor/index.js";
import { checkWeight } from "../layer-input.js";
import { startMeasuring } from "../layer-report.js";
import { type PruneOptions, type PruneResult, countZeros } from "../prune-report.js";
import {
  type Sparsity,
  type SparsityOptions,
  resolveFraction,
  resolveSparsity,
  rowZeros,
  sparsityWarnings,
  zerosOf,
  zerosOfRow,
} from "../sparsity.js";

export interface MagnitudeOptions extends Omit<PruneOptions, "report">, SparsityOptions {
  /** Compare |w| within the whole layer or within each row. A pattern always compares within rows. Default "layer". */
  readonly scope?: "layer" | "row" | undefined;
  /**
   * Prune exactly floor(size * sparsity) weights, of equal ones the first. False: everything up to and including the
   * next-smallest weight and what ties with it, as the published scripts do ("layer" only). Default true.
   */
  readonly exactCount?: boolean | undefined;
}

/**
 * Sets the smallest weights of a layer to zero: the baseline of all pruning.
 *
 * @param W `[out, in]` float32, finite, any strides. Not changed.
 * @param options `sparsity` or `pattern`, and see `MagnitudeOptions`.
 * @returns pruned weight, mask and report; the caller disposes weight and mask.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError before any work; NumericalError `NON_FINITE`.
 * Cost: five passes over the weights; nothing is sorted. 5 bytes a weight for the results.
 *
 * @example
 * const { weight, mask } = await magnitude(W, { sparsity: 0.5 });
 */
export async function magnitude(W: Tensor, options: MagnitudeOptions): Promise<PruneResult> {
  return run(task("magnitude", W, options), { signal: options.signal });
}

/** Like `magnitude`, blocking. */
export function magnitudeSync(W: Tensor, options: Omit<MagnitudeOptions, "signal">): PruneResult {
  return runSync(task("magnitudeSync", W, options));
}

/**
 * Sets the smallest weights of several layers together to zero: one threshold for all of them.
 *
 * @param weights `[out, in]` float32 each, finite, of one device. Not changed.
 * @param options `sparsity`: fraction of all weights together.
 * @returns one result a layer, in their order; the caller disposes weights and masks.
 * @throws as `magnitude`.
 */
export async function magnitudeGlobal(
  weights: readonly Tensor[],
  options: GlobalMagnitudeOptions,
): Promise<PruneResult[]> {
  return run(globalTask("magnitudeGlobal", weights, options), { signal: options.signal });
}

/** Like `magnitudeGlobal`, blocking. */
export function magnitudeGlobalSync(
  weights: readonly Tensor[],
  options: Omit<GlobalMagnitudeOptions, "signal">,
): PruneResult[] {
  return runSync(globalTask("magnitudeGlobalSync", weights, options));
}

export interface GlobalMagnitudeOptions {
  readonly sparsity: number;
  /** Names of the layers, for messages. */
  readonly names?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

function* task(fn: string, W: Tensor, options: MagnitudeOptions): Task<PruneResult> {
  const target = resolveSparsity(fn, options);
  const { scope = "layer", exactCount = true } = options;
  if (!["layer", "row"].includes(scope))
    throw new ArgumentError(expected(fn, '"layer" or "row"', "scope", scope));
  if (typeof exactCount !== "boolean")
    throw new ArgumentError(expected(fn, "a boolean", "exactCount", exactCount));
  const measured = startMeasuring();
  yield* checkWeight(fn, W, options.name);
  if (scope === "row" || target.kind === "pattern") {
    const pruned = yield* rowMagnitude(fn, W, target);
    const [out = 0, columns = 0] = W.shape;
    return result(target, W, pruned, out * zerosOfRow(target, columns), measured());
  }
  const zeros = zerosOf(W.size, target.fraction);
  const [one] = (yield* together(fn, [W], zeros, exactCount)) as [Counted];
  return result(target, W, one, one.zeros, measured());
}

/** @internal Magnitude pruning within rows: the baseline of the other methods' reports. */
export function* rowMagnitude(fn: string, W: Tensor, target: Sparsity): Task<Pruned> {
  return yield* pruneRows(fn, W, undefined, rowZeros(target, W.shape[1] ?? 0));
}

function* globalTask(
  fn: string,
  weights: readonly Tensor[],
  options: GlobalMagnitudeOptions,
): Task<PruneResult[]> {
  const target = resolveFraction(fn, options.sparsity);
  const measured = startMeasuring();
  for (const [index, W] of weights.entries())
    yield* checkWeight(fn, W, options.names?.[index] ?? `weights[${index}]`);
  const size = weights.reduce((sum, W) => sum + W.size, 0);
  const pruned = yield* together(fn, weights, zerosOf(size, target.fraction), true);
  const cost = measured();
  return pruned.map((one) => result(target, one.weight, one, one.zeros, cost));
}

type Counted = Pruned & { zeros: number };

/** One threshold over all weights; exactly `zeros` of them are pruned, or with ties the published rule's number. */
function* together(
  fn: string,
  weights: readonly Tensor[],
  zeros: number,
  exactCount: boolean,
): Task<Counted[]> {
  const dense = weights.map((W) => (W.isContiguous ? W : W.contiguous()));
  const found: Counted[] = [];
  try {
    const size = weights.reduce((sum, W) => sum + W.size, 0);
    const count = exactCount ? zeros : Math.min(size, zeros + 1);
    const threshold = yield* selectSmallest(fn, dense, count, {
      absolute: true,
      allTies: !exactCount,
    });
    let ties = threshold.ties;
    for (const weight of dense) {
      const key = threshold.key;
      const {
        zeros: pruned,
        equal,
        ...tensors
      } = yield* pruneBelow(fn, weight, undefined, { key, ties });
      if (ties > 0) ties = Math.max(0, ties - equal);
      found.push({ ...tensors, zeros: pruned });
    }
    return found;
  } catch (error) {
    for (const one of found) {
      one.weight.dispose();
      one.mask.dispose();
    }
    throw error;
  } finally {
    dense.forEach((one, index) => {
      if (one !== weights[index]) one.dispose();
    });
  }
}

function result(
  target: Sparsity,
  W: Tensor,
  pruned: Pruned,
  zeros: number,
  cost: { milliseconds: number; peakBytes: number },
): PruneResult {
  return {
    weight: pruned.weight,
    mask: pruned.mask,
    report: {
      method: "magnitude",
      ...countZeros(target, W.size, zeros),
      rows: "none",
      tokens: 0,
      warnings: sparsityWarnings(target, W.shape[1] ?? 0),
      ...cost,
    },
  };
}
