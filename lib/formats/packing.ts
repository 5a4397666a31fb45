/**
 * Bit packing: small codes to words or bytes and back.
 *
 * A row of codes is one little-endian bit stream: code i occupies bits `[i*bits, (i+1)*bits)`, bit t of
 * the stream is bit `t mod 32` of word `t div 32` (or bit `t mod 8` of byte `t div 8`). GPTQ words,
 * MatMulNBits blobs and ONNX int4 nibbles are all this one stream.
 */
import { expected, ShapeError } from "../errors.js";
import { packBits, packedLength } from "../ops/pack-bits.js";
import { unpackBits } from "../ops/unpack-bits.js";
import { Tensor } from "../tensor/index.js";

export interface BitRows {
  /** Rows of the matrix; each row starts at a new word. */
  rows: number;
  /** Codes in a row. */
  columns: number;
  /** Bits of a code: 1..8. */
  bits: number;
}

export interface PackOptions extends BitRows {
  /** Codes in a packed row, at least `columns`: the rest holds `fill`. Default: `columns`. */
  paddedColumns?: number;
  /** The code that pads a row: one for all rows, or one a row. Default 0. Bits after the padded codes are 0. */
  fill?: number | Uint8Array;
}

/** Bytes of a packed row of `columns` codes: `ceil(columns * bits / 8)`. */
export function packedBytes(columns: number, bits: number): number {
  return packedLength(columns, bits, "uint8");
}

/**
 * Packs rows of codes to bytes.
 *
 * @param codes `[rows, columns]`, each `< 2^bits` (higher bits are cut off).
 * @returns Uint8Array `[rows, packedBytes(paddedColumns, bits)]`.
 * @throws ShapeError when `codes` or `fill` have another length; ArgumentError.
 */
export function packBytes(codes: Uint8Array, options: PackOptions): Uint8Array {
  using packed = pack(codes, options, "uint8");
  return packed.dataSync() as Uint8Array;
}

/**
 * Packs rows of codes to 32-bit words (two's complement of the same bit pattern).
 *
 * @returns Int32Array `[rows, ceil(paddedColumns * bits / 32)]`.
 * @throws as `packBytes`.
 */
export function packWords(codes: Uint8Array, options: PackOptions): Int32Array {
  using packed = pack(codes, options, "int32");
  return packed.dataSync() as Int32Array;
}

function pack(codes: Uint8Array, options: PackOptions, dtype: "int32" | "uint8"): Tensor {
  const { rows, columns, bits, paddedColumns, fill = 0 } = options;
  const pads = typeof fill === "number" ? new Uint8Array(rows).fill(fill) : fill;
  using matrix = Tensor.from(codes, [rows, columns], { dtype: "uint8", borrow: true });
  using pad = Tensor.from(pads, [rows], { dtype: "uint8", borrow: true });
  return packBits(matrix, { bits, dtype: dtype as "int32", paddedColumns, fill: pad });
}

/**
 * Unpacks rows of codes from bytes; the inverse of `packBytes` (padding is dropped).
 *
 * @param packed `[rows, rowBytes]` with `rowBytes >= packedBytes(columns, bits)`, the same for every row.
 * @returns Uint8Array `[rows, columns]`.
 * @throws ShapeError when `packed` is too short or no whole number of rows; ArgumentError.
 */
export function unpackBytes(packed: Uint8Array, options: BitRows): Uint8Array {
  return unpack("unpackBytes", packed, options);
}

/** Unpacks rows of codes from 32-bit words; the inverse of `packWords`. */
export function unpackWords(packed: Int32Array, options: BitRows): Uint8Array {
  return unpack("unpackWords", packed, options);
}

function unpack(fn: string, packed: Int32Array | Uint8Array, options: BitRows): Uint8Array {
  const { rows, columns, bits } = options;
  const words = rows === 0 ? 0 : packed.length / rows;
  if (!Number.isInteger(words))
    throw new ShapeError(expected(fn, `${rows} rows`, "packed", packed));
  using matrix = Tensor.from(packed, [rows, words], { borrow: true });
  using codes = unpackBits(matrix, { bits, columns });
  return codes.dataSync();
}

/**
 * Packs 4-bit codes as ONNX stores INT4 and UINT4: two a byte, the first in the low nibble, an odd count
 * padded with 0.
 *
 * @param codes unsigned 0..15 (Uint8Array) or signed -8..7 (Int8Array).
 */
export function packNibbles(codes: Uint8Array | Int8Array): Uint8Array {
  const bytes = new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
  return packBytes(bytes, { rows: 1, columns: codes.length, bits: 4 });
}

/** The inverse of `packNibbles`, unsigned. */
export function unpackNibbles(packed: Uint8Array, count: number): Uint8Array {
  return unpackBytes(packed, { rows: 1, columns: count, bits: 4 });
}
