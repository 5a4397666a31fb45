import { kernel, type Task } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { type Tensor, nativeArray } from "../tensor/index.js";
import { checkInteger, checkSameDevice, checkTensor, rowsOf } from "./check.js";
import type { GptqFactor } from "./gptq-factor.js";
import { type Pruned, newPruned } from "./prune.js";
import { type Codes, type GridOptions, checkGrid, newCodes } from "./quantization-grid.js";
import { groupIndexOf } from "./round-to-nearest.js";

export interface SparsegptColumnsOptions {
  /** Fraction of each block of columns, or n zeros in every m columns. */
  readonly target: { readonly fraction: number } | { readonly n: number; readonly m: number };
  /** Of a fraction: exactly floor(size * fraction) weights of a block, of equal ones the first; else everything up to the next and its ties. */
  readonly exactCount: boolean;
  /** Columns whose weights are compared with each other, for a fraction. */
  readonly blockSize: number;
  /** `[out, in]` bool: where it is 0 the weight is pruned, whatever its score. */
  readonly held?: Tensor | undefined;
  /** Quantize what stays, on grids of the original weights. */
  readonly grid?: GridOptions | undefined;
}

export interface SparsegptColumns extends Pruned {
  readonly codes: Codes | undefined;
  /** 1/2 tr((W-Q) H_d (W-Q)^T). */
  readonly loss: number;
  /** The part of it that pruned weights made. */
  readonly pruningLoss: number;
  readonly zeros: number;
}

/**
 * Prunes all rows column by column, feeding each column's error to the columns after it.
 *
 * @param weight `[out, in]` float32, finite.
 * @param factor of the layer's matrix, from `gptqFactor`.
 * Cost: out * in^2 flops. Source: Frantar, Alistarh, SparseGPT, 2023, algorithm 1.
 */
export function* sparsegptPruneColumns(
  fn: string,
  weight: Tensor,
  factor: GptqFactor,
  options: SparsegptColumnsOptions,
): Task<SparsegptColumns> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  const [out = 0, columns = 0] = weight.shape;
  checkTensor(fn, "factor", factor.factor, ["float32"], [columns, columns]);
  if (factor.order.length !== columns)
    throw new ShapeError(expected(fn, `${columns} entries`, "factor.order", factor.order.length));
  checkSameDevice(fn, { weight, factor: factor.factor });
  checkInteger(fn, "blockSize", options.blockSize, 1, Number.MAX_SAFE_INTEGER);
  const { held, grid, target } = options;
  if (held !== undefined) {
    checkTensor(fn, "mask", held, ["bool"], [out, columns]);
    checkSameDevice(fn, { weight, mask: held });
  }
  if ("n" in target && !(target.n <= target.m))
    throw new ArgumentError(expected(fn, `at most ${target.m}`, "n", target.n));
  if (grid !== undefined) checkGrid(fn, grid);
  const codes = grid && newCodes(out, columns, grid.groupSize);
  if (codes) groupIndexOf(codes.groupIndex, grid.groupSize);
  const { rows, dispose } = rowsOf(weight);
  const mask = held && rowsOf(held);
  try {
    const { result, ...pruned } = yield* newPruned(weight, (made) =>
      kernel(
        fn,
        "sparsegpt_prune_columns",
        weight.device,
        {
          weight: rows.native(fn),
          factor: factor.factor.native(fn),
          diagonal: nativeArray(factor.diagonal, "float64"),
          order: nativeArray(factor.order, "int32"),
          dead: nativeArray(factor.dead, "uint8"),
          held: mask?.rows.native(fn),
          pruned: made.weight.native(fn),
          mask: made.mask.native(fn),
          codes: nativeArray(codes?.codes ?? new Uint8Array(0), "uint8"),
          scales: nativeArray(codes?.scales ?? new Float32Array(0), "float32"),
          zeros: nativeArray(codes?.zeros ?? new Uint8Array(0), "uint8"),
          sparsity: "fraction" in target ? target.fraction : 0,
          exactCount: Number(options.exactCount),
          n: "n" in target ? target.n : 0,
          m: "n" in target ? target.m : 0,
          blockSize: options.blockSize,
          bits: grid?.bits ?? 0,
          sym: Number(grid?.sym ?? false),
          groupSize: grid?.groupSize ?? -1,
          mse: Number(grid?.mse ?? false),
          float16Scales: Number(grid?.scaleDtype === "float16"),
        },
        { reports: true },
      ),
    );
    return {
      ...pruned,
      codes,
      loss: result["loss"] ?? Number.NaN,
      pruningLoss: result["pruningLoss"] ?? Number.NaN,
      zeros: result["zerosCount"] ?? 0,
    };
  } finally {
    dispose();
    mask?.dispose();
  }
}
