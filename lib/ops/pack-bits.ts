import { enqueue } from "../binding/index.js";
import { ArgumentError, DTypeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkInteger, checkSameDevice, checkTensor } from "./check.js";

export interface PackBitsOptions {
  /** Bits of a code, 1..8; higher bits of a code are cut off. */
  bits: number;
  /** Words of the result: "int32" (two's complement) or "uint8". */
  dtype: "int32" | "uint8";
  /** Codes in a packed row, at least `columns`. Default: `columns`. */
  paddedColumns?: number | undefined;
  /** [rows] uint8: the code that pads each row. Default: 0. Bits after the padded codes are 0. */
  fill?: Tensor<"uint8"> | undefined;
}

/** Words of a packed row: `ceil(columns * bits / bits of a word)`. */
export function packedLength(columns: number, bits: number, dtype: "int32" | "uint8"): number {
  return Math.ceil((columns * bits) / (dtype === "int32" ? 32 : 8));
}

/**
 * Pack each row of codes into one little-endian bit stream: code i at bits `[i*bits, (i+1)*bits)`, bit t of the stream at
 * bit `t mod 32` of word `t div 32` (int32) or bit `t mod 8` of byte `t div 8` (uint8).
 *
 * @param codes [rows, columns] uint8; any view.
 * @returns [rows, packedLength(paddedColumns, bits, dtype)] of `dtype`, on the device of codes; the caller disposes it.
 * @throws ShapeError, DTypeError, ArgumentError
 */
export function packBits(
  codes: Tensor,
  options: PackBitsOptions & { dtype: "int32" },
): Tensor<"int32">;
export function packBits(
  codes: Tensor,
  options: PackBitsOptions & { dtype: "uint8" },
): Tensor<"uint8">;
export function packBits(codes: Tensor, options: PackBitsOptions): Tensor<"int32" | "uint8"> {
  const fn = "packBits";
  const { bits, dtype, fill } = options;
  checkTensor(fn, "codes", codes, ["uint8"], ["rows", "columns"]);
  const [rows = 0, columns = 0] = codes.shape;
  checkInteger(fn, "bits", bits, 1, 8);
  if ((dtype as string) !== "int32" && (dtype as string) !== "uint8") {
    throw new DTypeError(expected(fn, '"int32" or "uint8"', "dtype", dtype));
  }
  const paddedColumns = options.paddedColumns ?? columns;
  checkInteger(fn, "paddedColumns", paddedColumns, columns, Number.MAX_SAFE_INTEGER);
  if (fill !== undefined) {
    checkTensor(fn, "fill", fill, ["uint8"], [rows]);
    if (!fill.isContiguous)
      throw new ArgumentError(expected(fn, "a contiguous vector", "fill", "a view"));
    checkSameDevice(fn, { codes, fill });
  }
  const length = packedLength(paddedColumns, bits, dtype);
  const packed = Tensor.empty([rows, length], { dtype, device: codes.device });
  enqueue(fn, "pack_bits", codes.device, {
    codes: codes.native(fn),
    fill: fill?.native(fn),
    packed: packed.native(fn),
    bits,
    paddedColumns,
  });
  return packed;
}
