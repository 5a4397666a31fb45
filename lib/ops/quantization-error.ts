import { type CallOptions, kernel, run, type Task } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { type Tensor, nativeArray } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";

/** The arrays of a quantized layer. */
export interface QuantizedArrays {
  /** `[out, in]` */
  readonly codes: Uint8Array;
  /** `[groups, out]` */
  readonly scales: Float32Array;
  /** `[groups, out]` */
  readonly zeros: Uint8Array;
  /** `[in]` */
  readonly groupIndex: Int32Array;
}

/**
 * How much a layer's output changes: `error` = sum over rows of d H d^T, d = w - q; `reference` = the same of w.
 *
 * @param gram `[in, in]` float32 or float64, symmetric, both halves filled. Products are in its dtype, sums in float64.
 * @param weight `[out, in]` float32.
 * @param rows which rows to sum over, in this order.
 * @throws ShapeError, DTypeError, DeviceError; ArgumentError for a row or a group out of range.
 * Cost: `2 * rows * in^2` flops.
 */
export async function quantizationError(
  gram: Tensor,
  weight: Tensor,
  quantized: QuantizedArrays,
  rows: Int32Array,
  options: CallOptions = {},
): Promise<{ error: number; reference: number }> {
  return run(quantizationErrorTask("quantizationError", gram, weight, quantized, rows), options);
}

export function* quantizationErrorTask(
  fn: string,
  gram: Tensor,
  weight: Tensor,
  quantized: QuantizedArrays,
  rows: Int32Array,
): Task<{ error: number; reference: number }> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  const [out = 0, columns = 0] = weight.shape;
  checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
  checkSameDevice(fn, { gram, weight });
  const groups = out === 0 ? 1 : quantized.scales.length / out;
  const sizes = { codes: out * columns, zeros: groups * out, groupIndex: columns } as const;
  for (const name of ["codes", "zeros", "groupIndex"] as const) {
    if (quantized[name].length !== sizes[name])
      throw new ShapeError(expected(fn, `${sizes[name]} elements`, name, quantized[name]));
  }
  if (!Number.isInteger(groups))
    throw new ShapeError(expected(fn, `a multiple of ${out} elements`, "scales", quantized.scales));
  if (out === 0) return { error: 0, reference: 0 };
  const w = rowsOf(weight);
  const h = rowsOf(gram);
  try {
    const results = yield* kernel(fn, "quantization_error", weight.device, {
      gram: h.rows.native(fn),
      weight: w.rows.native(fn),
      codes: nativeArray(quantized.codes, "uint8", [out, columns]),
      scales: nativeArray(quantized.scales, "float32", [groups, out]),
      zeros: nativeArray(quantized.zeros, "uint8", [groups, out]),
      groupIndex: nativeArray(quantized.groupIndex, "int32"),
      rows: nativeArray(rows, "int32"),
    });
    return { error: results["error"] ?? Number.NaN, reference: results["reference"] ?? Number.NaN };
  } finally {
    w.dispose();
    h.dispose();
  }
}
