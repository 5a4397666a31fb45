import { run, runSync, type Task } from "../../binding/index.js";
import { fisherInverseTask } from "../../curvature/fisher-inverse.js";
import { ArgumentError, expected } from "../../errors.js";
import { binary } from "../../ops/binary.js";
import { checkSameDevice, checkTensor } from "../../ops/check.js";
import { copyInto } from "../../ops/copy.js";
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
  saliency,
  selectAndPrune,
  surgeonReport,
  takeLayers,
} from "../surgeon.js";

export interface MfacOptions {
  /** Fraction of all weights together that are zero afterwards. */
  readonly sparsity: number;
  /** Weights pruned before, `[out, in]` bool, 0 where they are: they stay zero and count to the target. */
  readonly masks?: Masks | undefined;
  /** Added to the diagonal of the Fisher matrix. Default 1e-5. */
  readonly damp?: number | undefined;
  /** Weights that have to do with each other, over all layers flattened one after the other; -1: all. Default 128. */
  readonly blockSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One step of the M-FAC pruner: removes the weights with the smallest `w^2 / (2 [F^-1]_pp)` over all layers, F the damped
 * empirical Fisher matrix of the gradients, and moves the others by `-F^-1 u`, `u_p = w_p / [F^-1]_pp` of those that go.
 *
 * The correction treats weights that go as if each went alone. Reach a high sparsity in steps (`geometricSparsities`) with new
 * gradients each time.
 *
 * @param weights `[out, in]` float32 each, finite, of one device. Not changed.
 * @param gradients of each weight, `[m, out, in]` or `[m, out * in]` float32, finite: m gradients of mini-batches, the model in
 *   evaluation mode. What belongs to weights pruned before is left out.
 * @returns one result a layer; the caller disposes weights and masks. `report.tokens` is m.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE`.
 * Cost: 4 d m^2 flops, with blocks 3; 4 m d bytes while it runs, with blocks 12.
 * Source: Frantar, Kurtic, Alistarh, "M-FAC", 2021.
 */
export async function mfac(
  weights: readonly Tensor[],
  gradients: readonly Tensor[],
  options: MfacOptions,
): Promise<PruneResult[]> {
  return run(task("mfac", weights, gradients, options), { signal: options.signal });
}

/** Like `mfac`, blocking. */
export function mfacSync(
  weights: readonly Tensor[],
  gradients: readonly Tensor[],
  options: Omit<MfacOptions, "signal">,
): PruneResult[] {
  return runSync(task("mfacSync", weights, gradients, options));
}

function* task(
  fn: string,
  weights: readonly Tensor[],
  gradients: readonly Tensor[],
  options: MfacOptions,
): Task<PruneResult[]> {
  const target = resolveFraction(fn, options.sparsity);
  const measured = startMeasuring();
  const layers = yield* takeLayers(fn, weights, options.masks);
  try {
    const m = checkGradientCounts(fn, layers, gradients);
    using weight = concatenate(
      fn,
      layers.map((layer) => layer.weight),
    );
    using ones = concatenate(
      fn,
      layers.map((layer) => layer.mask),
    );
    using mask = ones.toDType("bool");
    using masked = maskedGradients(fn, layers, gradients, m);
    const { damp, blockSize = 128 } = options;
    using inverse = yield* fisherInverseTask(fn, masked, { damp, blockSize });
    using diagonal = inverse.diagonal();
    using scores = saliency(fn, weight, diagonal, mask, 0);
    const held = yield* countPruned(fn, mask);
    const zeros = (size: number) => zerosOf(size, target.fraction);
    const [one] = yield* selectAndPrune(fn, [weight], [scores], [held], true, zeros);
    if (one === undefined) return [];
    using kept = one.mask;
    one.weight.dispose();
    using dropped = droppedNow(fn, mask, kept);
    using wide = weight.toDType("float64");
    using going = binary(fn, "multiply", wide, dropped);
    using u64 = binary(fn, "divide", going, diagonal);
    using u = u64.toDType("float32");
    using change = inverse.product(u);
    using corrected = correct(fn, weight, change, kept);
    const results: PruneResult[] = [];
    let at = 0;
    for (const layer of layers) {
      const { shape, size } = layer.weight;
      const part = <D extends "float32" | "bool">(flat: Tensor<D>): Tensor<D> => {
        using slice = flat.slice(0, at, at + size);
        using copy = slice.contiguous();
        return copy.reshape(shape);
      };
      const layerMask = part(kept);
      const zeros = yield* countPruned(fn, layerMask);
      const report = surgeonReport("mfac", target, size, zeros, m, measured());
      results.push({ weight: part(corrected), mask: layerMask, report });
      at += size;
    }
    return results;
  } finally {
    for (const layer of layers) layer.mask.dispose();
  }
}

function checkGradientCounts(
  fn: string,
  layers: readonly Layer[],
  gradients: readonly Tensor[],
): number {
  if (!Array.isArray(gradients) || gradients.length !== layers.length)
    throw new ArgumentError(expected(fn, `${layers.length} tensors`, "gradients", gradients));
  let m: number | undefined;
  layers.forEach(({ weight }, index) => {
    const g = item(gradients as readonly Tensor[], index);
    const name = `gradients[${index}]`;
    const dims = g instanceof Tensor && g.rank === 2 ? [weight.size] : weight.shape;
    checkTensor(fn, name, g, ["float32"], [m ?? "m", ...dims]);
    checkSameDevice(fn, { weight, [name]: g });
    m ??= g.shape[0] ?? 0;
  });
  return m ?? 0;
}

/** All elements one after the other, `[d]` float32. */
function concatenate(fn: string, tensors: readonly Tensor[]): Tensor<"float32"> {
  const size = tensors.reduce((sum, tensor) => sum + tensor.size, 0);
  const flat = Tensor.empty([size], { device: tensors[0]?.device });
  let at = 0;
  for (const tensor of tensors) {
    using copy = tensor.toDType("float32");
    using line = copy.reshape([tensor.size]);
    using place = flat.slice(0, at, at + tensor.size);
    copyInto(fn, line, place);
    at += tensor.size;
  }
  return flat;
}

/** Gradients of all layers side by side, `[m, d]` float32, zero where the weight is pruned. */
function maskedGradients(
  fn: string,
  layers: readonly Layer[],
  gradients: readonly Tensor[],
  m: number,
): Tensor<"float32"> {
  const size = layers.reduce((sum, { weight }) => sum + weight.size, 0);
  const all = Tensor.empty([m, size], { device: layers[0]?.weight.device });
  let at = 0;
  layers.forEach(({ weight, mask }, index) => {
    using copy = item(gradients, index).contiguous();
    using rows = copy.reshape([m, weight.size]);
    using kept = mask.toDType("float32");
    using line = kept.reshape([1, weight.size]);
    using masked = binary(fn, "multiply", rows, line);
    using place = all.slice(1, at, at + weight.size);
    copyInto(fn, masked, place);
    at += weight.size;
  });
  return all;
}
