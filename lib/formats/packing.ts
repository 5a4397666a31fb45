/**
 * Bit packing: small codes to words or bytes and back.
 *
 * A row of codes is one little-endian bit stream: code i occupies bits `[i*bits, (i+1)*bits)`, bit t of
 * the stream is bit `t mod 32` of word `t div 32` (or bit `t mod 8` of byte `t div 8`). GPTQ words,
 * MatMulNBits blobs and ONNX int4 nibbles are all this one stream.
 */
import { ArgumentError, expected, ShapeError } from "../errors.js";

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
  return Math.ceil((columns * bits) / 8);
}

/** Words of a packed row of `columns` codes: `ceil(columns * bits / 32)`. */
export function packedWords(columns: number, bits: number): number {
  return Math.ceil((columns * bits) / 32);
}

/**
 * Packs rows of codes to bytes.
 *
 * @param codes `[rows, columns]`, each `< 2^bits` (higher bits are cut off).
 * @returns Uint8Array `[rows, packedBytes(paddedColumns, bits)]`.
 * @throws ShapeError when `codes` or `fill` have another length.
 */
export function packBytes(codes: Uint8Array, options: PackOptions): Uint8Array {
  const { rows, columns, bits } = checkRows("packBytes", options);
  const padded = options.paddedColumns ?? columns;
  if (!Number.isInteger(padded) || padded < columns) {
    throw new ArgumentError(
      expected("packBytes", `an integer >= ${columns}`, "paddedColumns", padded),
    );
  }
  const { fill = 0 } = options;
  checkLength("packBytes", "codes", codes.length, rows * columns);
  if (typeof fill !== "number") checkLength("packBytes", "fill", fill.length, rows);
  const rowBytes = packedBytes(padded, bits);
  const packed = new Uint8Array(rows * rowBytes);
  const mask = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    const pad = typeof fill === "number" ? fill : (fill[row] ?? 0);
    let byte = row * rowBytes;
    let pending = 0;
    let pendingBits = 0;
    for (let column = 0; column < padded; column++) {
      const code = column < columns ? (codes[row * columns + column] ?? 0) : pad;
      pending |= (code & mask) << pendingBits;
      pendingBits += bits;
      while (pendingBits >= 8) {
        packed[byte++] = pending & 255;
        pending >>>= 8;
        pendingBits -= 8;
      }
    }
    if (pendingBits > 0) packed[byte] = pending;
  }
  return packed;
}

/**
 * Packs rows of codes to 32-bit words (two's complement of the same bit pattern).
 *
 * @returns Int32Array `[rows, packedWords(paddedColumns, bits)]`.
 */
export function packWords(codes: Uint8Array, options: PackOptions): Int32Array {
  const padded = options.paddedColumns ?? options.columns;
  const rowWords = packedWords(padded, options.bits);
  const rowBytes = packedBytes(padded, options.bits);
  const bytes = packBytes(codes, options);
  const words = new Int32Array(options.rows * rowWords);
  const target = new Uint8Array(words.buffer);
  for (let row = 0; row < options.rows; row++) {
    target.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), row * rowWords * 4);
  }
  return words;
}

/**
 * Unpacks rows of codes from bytes; the inverse of `packBytes` (padding is dropped).
 *
 * @param packed `[rows, rowBytes]` with `rowBytes >= packedBytes(columns, bits)`, the same for every row.
 * @returns Uint8Array `[rows, columns]`.
 */
export function unpackBytes(packed: Uint8Array, options: BitRows): Uint8Array {
  const { rows, columns, bits } = checkRows("unpackBytes", options);
  const rowBytes = rows === 0 ? 0 : packed.length / rows;
  if (!Number.isInteger(rowBytes) || rowBytes < packedBytes(columns, bits)) {
    throw new ShapeError(
      expected(
        "unpackBytes",
        `${rows} rows of at least ${packedBytes(columns, bits)} bytes`,
        "packed",
        packed,
      ),
    );
  }
  const codes = new Uint8Array(rows * columns);
  const mask = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    const start = row * rowBytes;
    for (let column = 0; column < columns; column++) {
      const bit = column * bits;
      const byte = start + (bit >>> 3);
      const pair = (packed[byte] ?? 0) | ((packed[byte + 1] ?? 0) << 8);
      codes[row * columns + column] = (pair >>> (bit & 7)) & mask;
    }
  }
  return codes;
}

/** Unpacks rows of codes from 32-bit words; the inverse of `packWords`. */
export function unpackWords(packed: Int32Array, options: BitRows): Uint8Array {
  return unpackBytes(new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength), options);
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

function checkRows(fn: string, { rows, columns, bits }: BitRows): BitRows {
  for (const [name, value] of Object.entries({ rows, columns })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ArgumentError(expected(fn, "an integer >= 0", name, value));
    }
  }
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
    throw new ArgumentError(expected(fn, "an integer in 1..8", "bits", bits));
  }
  return { rows, columns, bits };
}

function checkLength(fn: string, name: string, received: number, wanted: number): void {
  if (received !== wanted) throw new ShapeError(expected(fn, `${wanted} values`, name, received));
}
