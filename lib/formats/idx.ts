/** IDX files, the format of MNIST and its relatives: arrays of bytes, plain or gzipped. */
import { promises as fs } from "node:fs";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { describe, expected, FormatError } from "../errors.js";
import { toIoError } from "../io/fs-errors.js";

export interface IdxArray {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Uint8Array;
}

export interface ReadIdxOptions {
  /** Bytes the file may unpack to; default 1 GiB. A small gzip can claim any size. */
  readonly maxBytes?: number | undefined;
}

const UNSIGNED_BYTE = 0x08;
const MAX_RANK = 8;

function fail(what: string, name: string, received: unknown): never {
  throw new FormatError(expected("parseIdx", what, name, received));
}

/**
 * Decodes one array: two zero bytes, the element type, the number of dimensions, each dimension as a big-endian 32-bit
 * integer, the elements.
 *
 * @param bytes the whole file, not compressed; the array shares its memory.
 * @throws FormatError for another magic number, an element type other than unsigned byte (0x08), more than 8 dimensions, or
 *   a size that is not what the dimensions say.
 */
export function parseIdx(bytes: Uint8Array): IdxArray {
  const [first, second, type = 0, rank = 0] = bytes;
  if (bytes.length < 4 || first !== 0 || second !== 0) {
    fail("an IDX file, which starts with two zero bytes", "bytes", bytes);
  }
  if (type !== UNSIGNED_BYTE) {
    fail("unsigned bytes (0x08)", "the element type", `0x${type.toString(16).padStart(2, "0")}`);
  }
  if (rank < 1 || rank > MAX_RANK) fail(`1 to ${MAX_RANK} dimensions`, "the magic number", rank);
  const start = 4 + 4 * rank;
  if (bytes.length < start) fail(`a header of ${start} bytes`, "bytes", bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  // Up to 2^256 as a float64: far above any length, so that no wrong product can equal one.
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  if (bytes.length - start !== size) {
    fail(`${size} bytes of data`, `shape ${describe(shape)}`, bytes.length - start);
  }
  return { shape, data: bytes.subarray(start) };
}

/**
 * Reads an IDX file, gunzipped first when it starts like a gzip.
 *
 * @throws IoError when the file cannot be read; FormatError when it is malformed, truncated or unpacks to more than
 *   `maxBytes`.
 */
export async function readIdx(path: string, options: ReadIdxOptions = {}): Promise<IdxArray> {
  const { maxBytes = 2 ** 30 } = options;
  let bytes: Uint8Array;
  try {
    bytes = await fs.readFile(path);
  } catch (cause) {
    throw toIoError("readIdx", "read", path, cause);
  }
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
      bytes = await promisify(gunzip)(bytes, { maxOutputLength: maxBytes });
    }
    return parseIdx(bytes);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`readIdx: ${path} is no IDX file: ${reason}`, {
      details: { path },
      cause,
    });
  }
}
