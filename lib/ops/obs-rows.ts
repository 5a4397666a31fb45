import { kernel, type Task } from "../binding/index.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkInteger, checkNumber, checkSameDevice, checkTensor, rowsOf } from "./check.js";
import { type Pruned, newPruned } from "./prune.js";
import {
  type Codes,
  type GridOptions,
  checkGrid,
  groupCount,
  newCodes,
} from "./quantization-grid.js";
import { groupIndexOf } from "./round-to-nearest.js";

/** The rows of a layer and the matrix they share: the reference methods of Optimal Brain Surgeon, float64, O(in^3) a row. */
export interface ObsLayer {
  /** `[in, in]` float32 or float64, symmetric. */
  readonly gram: Tensor;
  /** `[out, in]` float32, finite. */
  readonly weight: Tensor;
  /** Added to the diagonal, absolute. */
  readonly damping: number;
}

function prepare(fn: string, { gram, weight, damping }: ObsLayer) {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  const columns = weight.shape[1] ?? 0;
  checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
  checkSameDevice(fn, { weight, gram });
  checkNumber(fn, "damping", damping, ">= 0", (value) => value >= 0);
  const [h, w] = [rowsOf(gram), rowsOf(weight)];
  return {
    args: { gram: h.rows.native(fn), weight: w.rows.native(fn), damping },
    dispose: () => {
      h.dispose();
      w.dispose();
    },
  };
}

/**
 * The weights that stay, with those of the mask gone, that change the output least.
 *
 * @param mask `[out, in]` bool, 1 where kept.
 * @returns `[out, in]` float32 and loss = 1/2 tr(D H_d D^T), and how many are zero; the caller disposes the weight.
 */
export function* obsRefitRows(
  fn: string,
  layer: ObsLayer,
  mask: Tensor,
): Task<{ weight: Tensor<"float32">; loss: number; zeros: number }> {
  const { args, dispose } = prepare(fn, layer);
  const held = rowsOf(mask);
  let weight: Tensor<"float32"> | undefined;
  try {
    checkTensor(fn, "mask", mask, ["bool"], layer.weight.shape);
    checkSameDevice(fn, { weight: layer.weight, mask });
    weight = Tensor.empty(layer.weight.shape, { device: layer.weight.device });
    const results = yield* kernel(fn, "obs_refit_rows", layer.weight.device, {
      ...args,
      mask: held.rows.native(fn),
      refitted: weight.native(fn),
    });
    return { weight, loss: results["loss"] ?? Number.NaN, zeros: results["zeros"] ?? 0 };
  } catch (error) {
    weight?.dispose();
    throw error;
  } finally {
    held.dispose();
    dispose();
  }
}

/** Removes the weight whose removal costs least, again and again: so many of all rows together, or n of every m columns. */
export function* obcPruneRows(
  fn: string,
  layer: ObsLayer,
  target: { readonly zeros: number } | { readonly n: number; readonly m: number },
): Task<Pruned & { loss: number }> {
  const { args, dispose } = prepare(fn, layer);
  try {
    if ("zeros" in target) checkInteger(fn, "zeros", target.zeros, 0, layer.weight.size);
    const { result, ...pruned } = yield* newPruned(layer.weight, (made) =>
      kernel(fn, "obc_prune_rows", layer.weight.device, {
        ...args,
        pruned: made.weight.native(fn),
        mask: made.mask.native(fn),
        zeros: "zeros" in target ? target.zeros : 0,
        n: "zeros" in target ? 0 : target.n,
        m: "zeros" in target ? 0 : target.m,
      }),
    );
    return { ...pruned, loss: result["loss"] ?? Number.NaN };
  } finally {
    dispose();
  }
}

export interface ObqOptions extends GridOptions {
  /** The cheapest weight next; false: columns in order. */
  readonly greedy: boolean;
  /** Scales and zeros `[groups, out]` to use instead of ones from the weights. */
  readonly grids?: Pick<Codes, "scales" | "zeros"> | undefined;
}

/** Settles the weight whose rounding costs least, again and again. */
export function* obqQuantizeRows(
  fn: string,
  layer: ObsLayer,
  options: ObqOptions,
): Task<Codes & { loss: number }> {
  checkGrid(fn, options);
  const { args, dispose } = prepare(fn, layer);
  const { device, shape } = layer.weight;
  const [out = 0, columns = 0] = shape;
  const codes = newCodes(out, columns, options.groupSize);
  groupIndexOf(codes.groupIndex, options.groupSize);
  const groups = groupCount(columns, options.groupSize);
  if (options.grids) {
    codes.scales.set(options.grids.scales);
    codes.zeros.set(options.grids.zeros);
  }
  try {
    const results = yield* kernel(fn, "obq_quantize_rows", device, {
      ...args,
      codes: nativeArray(codes.codes, "uint8", [out, columns]),
      scales: nativeArray(codes.scales, "float32", [groups, out]),
      zeros: nativeArray(codes.zeros, "uint8", [groups, out]),
      bits: options.bits,
      sym: Number(options.sym),
      groupSize: options.groupSize,
      mse: Number(options.mse),
      float16Scales: Number(options.scaleDtype === "float16"),
      greedy: Number(options.greedy),
      givenGrids: Number(options.grids !== undefined),
    });
    return { ...codes, loss: results["loss"] ?? Number.NaN };
  } finally {
    dispose();
  }
}
