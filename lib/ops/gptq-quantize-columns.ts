import { type CallOptions, kernel, run, type Task } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { type Tensor, nativeArray } from "../tensor/index.js";
import { checkInteger, checkSameDevice, checkTensor, rowsOf } from "./check.js";
import type { GptqFactor } from "./gptq-factor.js";
import { type Codes, type GridOptions, checkGrid, newCodes } from "./quantization-grid.js";

export interface GptqColumnsOptions extends GridOptions {
  /** Take the grids of all groups of the original columns before the sweep. */
  readonly staticGroups: boolean;
  /** Columns per lazy update. Does not change the result, exact ties aside. */
  readonly blockSize: number;
  /** `[in, in]` from `gptaqCorrection`; then `loss` is 1/2 sum R_jj^2 (w_j - q_j)^2 of the corrected columns. */
  readonly correction?: Tensor | undefined;
}

/**
 * Quantizes all rows column by column, feeding each column's error to the columns after it.
 *
 * @param weight `[out, in]` float32, finite.
 * @returns codes, scales, zeros, groupIndex and `loss` = 1/2 tr((W-Q) H_d (W-Q)^T).
 * Cost: out * in^2 flops. Source: Frantar et al., GPTQ, 2022, algorithm 1.
 */
export async function gptqQuantizeColumns(
  weight: Tensor,
  factor: GptqFactor,
  options: GptqColumnsOptions & CallOptions,
): Promise<Codes & { loss: number }> {
  return run(gptqQuantizeColumnsTask("gptqQuantizeColumns", weight, factor, options), options);
}

export function* gptqQuantizeColumnsTask(
  fn: string,
  weight: Tensor,
  factor: GptqFactor,
  options: GptqColumnsOptions,
): Task<Codes & { loss: number }> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  const [out = 0, columns = 0] = weight.shape;
  checkTensor(fn, "factor", factor.factor, ["float32"], [columns, columns]);
  if (factor.order.length !== columns) {
    throw new ShapeError(expected(fn, `${columns} entries`, "factor.order", factor.order.length));
  }
  checkSameDevice(fn, { weight, factor: factor.factor });
  checkGrid(fn, options);
  checkInteger(fn, "blockSize", options.blockSize, 1, Number.MAX_SAFE_INTEGER);
  const { correction } = options;
  if (correction) checkTensor(fn, "correction", correction, ["float32"], [columns, columns]);
  const codes = newCodes(out, columns, options.groupSize);
  const { rows, dispose } = rowsOf(weight);
  try {
    const results = yield* kernel(
      fn,
      "gptq_quantize_columns",
      weight.device,
      {
        weight: rows.native(fn),
        factor: factor.factor.native(fn),
        diagonal: nativeArray(factor.diagonal, "float64"),
        order: nativeArray(factor.order, "int32"),
        dead: nativeArray(factor.dead, "uint8"),
        correction: correction?.native(fn),
        codes: nativeArray(codes.codes, "uint8", [out, columns]),
        scales: nativeArray(codes.scales, "float32", [codes.groups, out]),
        zeros: nativeArray(codes.zeros, "uint8", [codes.groups, out]),
        groupIndex: nativeArray(codes.groupIndex, "int32"),
        bits: options.bits,
        sym: Number(options.sym),
        groupSize: options.groupSize,
        staticGroups: Number(options.staticGroups),
        blockSize: options.blockSize,
        mse: Number(options.mse),
        float16Scales: Number(options.scaleDtype === "float16"),
      },
      { reports: true },
    );
    return { ...codes, loss: results["loss"] ?? Number.NaN };
  } finally {
    dispose();
  }
}
