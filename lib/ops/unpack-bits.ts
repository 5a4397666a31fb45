import { enqueue } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkInteger, checkTensor } from "./check.js";
import { packedLength } from "./pack-bits.js";

/**
 * Unpack rows of codes; the inverse of `packBits`, padding dropped.
 *
 * @param packed [rows, words] int32 or uint8, at least `packedLength(columns, bits, dtype)` words; any view.
 * @param options.bits bits of a code, 1..8.
 * @param options.columns codes of a row.
 * @returns [rows, columns] uint8, on the device of packed; the caller disposes it.
 * @throws ShapeError, DTypeError, ArgumentError
 */
export function unpackBits(
  packed: Tensor,
  options: { bits: number; columns: number },
): Tensor<"uint8"> {
  const fn = "unpackBits";
  const { bits, columns } = options;
  checkTensor(fn, "packed", packed, ["int32", "uint8"], ["rows", "words"]);
  const [rows = 0, words = 0] = packed.shape;
  checkInteger(fn, "bits", bits, 1, 8);
  checkInteger(fn, "columns", columns, 0, Number.MAX_SAFE_INTEGER);
  const least = packedLength(columns, bits, packed.dtype === "int32" ? "int32" : "uint8");
  if (words < least) {
    throw new ShapeError(expected(fn, `at least ${least} words a row`, "packed", packed.shape));
  }
  const codes = Tensor.empty([rows, columns], { dtype: "uint8", device: packed.device });
  enqueue(fn, "unpack_bits", packed.device, {
    packed: packed.native(fn),
    codes: codes.native(fn),
    bits,
  });
  return codes;
}
