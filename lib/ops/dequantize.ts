import { enqueue } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor } from "./check.js";

export interface DequantizeInputs {
  /** [out, in] uint8; any view. */
  codes: Tensor;
  /** [groups, out] float32, contiguous. */
  scales: Tensor;
  /** [groups, out] uint8, contiguous. */
  zeros: Tensor;
  /** [in] int32, contiguous: the group of each column, 0..groups-1. */
  groupIndex: Tensor;
}

/**
 * The weights a quantized layer stands for: `W[o][i] = scales[g][o] * (codes[o][i] - zeros[g][o])`, `g = groupIndex[i]`,
 * in float32.
 *
 * @returns [out, in] float32, on the device of the codes; the caller disposes it. A group out of range is an
 *   ArgumentError when it is read.
 * @throws ShapeError, DTypeError, ArgumentError
 */
export function dequantize({
  codes,
  scales,
  zeros,
  groupIndex,
}: DequantizeInputs): Tensor<"float32"> {
  const fn = "dequantize";
  checkTensor(fn, "codes", codes, ["uint8"], ["out", "in"]);
  const [rows = 0, columns = 0] = codes.shape;
  checkTensor(fn, "scales", scales, ["float32"], ["groups", rows]);
  checkTensor(fn, "zeros", zeros, ["uint8"], [scales.shape[0] ?? 0, rows]);
  checkTensor(fn, "groupIndex", groupIndex, ["int32"], [columns]);
  for (const [name, tensor] of Object.entries({ scales, zeros, groupIndex })) {
    if (!tensor.isContiguous)
      throw new ArgumentError(expected(fn, "a contiguous tensor", name, "a view"));
  }
  checkSameDevice(fn, { codes, scales, zeros, groupIndex });
  const weight = Tensor.empty([rows, columns], { device: codes.device });
  enqueue(fn, "dequantize", codes.device, {
    codes: codes.native(fn),
    scales: scales.native(fn),
    zeros: zeros.native(fn),
    groupIndex: groupIndex.native(fn),
    weight: weight.native(fn),
  });
  return weight;
}
