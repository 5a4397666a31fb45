/** NumPy .npy arrays, format versions 1 to 3. */
import { promises as fs } from "node:fs";
import { ArgumentError, describe, expected, FormatError, ShapeError } from "../errors.js";
import { toIoError } from "../io/fs-errors.js";

/** Element types: how NumPy names them, and the array that holds them (float16 as bit patterns). */
const TYPES = {
  float32: { descr: "f4", array: Float32Array },
  float64: { descr: "f8", array: Float64Array },
  int32: { descr: "i4", array: Int32Array },
  int64: { descr: "i8", array: BigInt64Array },
  uint8: { descr: "u1", array: Uint8Array },
  int8: { descr: "i1", array: Int8Array },
  bool: { descr: "b1", array: Uint8Array },
  float16: { descr: "f2", array: Uint16Array },
} as const;

export type NpyDType = keyof typeof TYPES;
export type NpyData = InstanceType<(typeof TYPES)[NpyDType]["array"]>;

export interface NpyArray {
  dtype: NpyDType;
  shape: readonly number[];
  /** Row-major. */
  data: NpyData;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
const MAX_HEADER_BYTES = 65536;
const MAX_RANK = 64;
const BY_DESCR = new Map(
  Object.entries(TYPES).map(([dtype, { descr }]) => [descr as string, dtype as NpyDType]),
);

function fail(what: string, name: string, received: unknown): never {
  throw new FormatError(expected("parseNpy", what, name, received));
}

/**
 * Reads a .npy file. See `parseNpy`.
 *
 * @throws IoError when the file cannot be read; FormatError.
 */
export async function readNpy(path: string): Promise<NpyArray> {
  let bytes: Uint8Array;
  try {
    bytes = await fs.readFile(path);
  } catch (cause) {
    throw toIoError("readNpy", "read", path, cause);
  }
  return parseNpy(bytes);
}

/**
 * Decodes one array. Fortran order is turned into row-major order.
 *
 * @param bytes the whole file; the array may share its memory.
 * @throws FormatError for anything but a little-endian array of a known dtype that fills the file.
 */
export function parseNpy(bytes: Uint8Array): NpyArray {
  if (bytes.length < 10 || !MAGIC.every((byte, i) => bytes[i] === byte)) {
    fail("the signature of a .npy file", "bytes", bytes);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(6);
  if (version < 1 || version > 3 || view.getUint8(7) !== 0) {
    fail("version 1.0, 2.0 or 3.0", "bytes", `${version}.${view.getUint8(7)}`);
  }
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) fail("a whole header", "bytes", bytes);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER_BYTES) fail(`at most ${MAX_HEADER_BYTES}`, "the header length", length);
  if (start + length > bytes.length) fail("a whole header", "bytes", bytes);
  const header = readHeader(decodeHeader(bytes.subarray(start, start + length), version));

  const { dtype, shape, fortranOrder } = header;
  const { array } = TYPES[dtype];
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const body = bytes.subarray(start + length);
  if (body.length !== size * array.BYTES_PER_ELEMENT) {
    fail(
      `${size * array.BYTES_PER_ELEMENT} bytes of data`,
      `shape ${describe(shape)}`,
      body.length,
    );
  }
  const aligned = body.byteOffset % array.BYTES_PER_ELEMENT === 0 ? body : new Uint8Array(body);
  const data = new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, size);
  return { dtype, shape, data: fortranOrder ? toRowMajor(data, shape) : data };
}

function decodeHeader(header: Uint8Array, version: number): string {
  try {
    return new TextDecoder(version === 3 ? "utf-8" : "latin1", { fatal: true }).decode(header);
  } catch (cause) {
    throw new FormatError("parseNpy: expected UTF-8 for the header but received other bytes", {
      cause,
    });
  }
}

interface Header {
  dtype: NpyDType;
  shape: number[];
  fortranOrder: boolean;
}

/**
 * Parses the header, a Python dict literal such as
 * `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. Nothing but strings, the two booleans
 * and tuples of integers is understood, and nothing is evaluated.
 */
function readHeader(text: string): Header {
  const tokens = text.match(/'[^'\\\n]*'|"[^"\\\n]*"|[{}(),:]|\w+|[^\s]/g) ?? [];
  let at = 0;
  const accept = (token: string) => tokens[at] === token && ++at > 0;
  const expect = (token: string) => {
    if (!accept(token)) fail(describe(token), "the header", tokens[at]);
  };
  const string = () => {
    const token = tokens[at++];
    if (token === undefined || token.length < 2 || !/^['"]/.test(token)) {
      fail("a string", "the header", token);
    }
    return token.slice(1, -1);
  };
  const integer = () => {
    const token = tokens[at++];
    const value = /^\d{1,16}L?$/.test(token ?? "") ? parseInt(token ?? "", 10) : NaN;
    if (!Number.isSafeInteger(value)) fail("an integer >= 0", "shape", token);
    return value;
  };
  const tuple = () => {
    const items: number[] = [];
    expect("(");
    while (!accept(")")) {
      items.push(integer());
      if (tokens[at] !== ")" || items.length === 1) expect(",");
    }
    return items;
  };

  const header: Partial<Header> = {};
  expect("{");
  while (!accept("}")) {
    const key = string();
    expect(":");
    if (key === "descr" && header.dtype === undefined) header.dtype = readDescr(tokens[at], string);
    else if (key === "shape" && header.shape === undefined) header.shape = tuple();
    else if (key === "fortran_order" && header.fortranOrder === undefined) {
      header.fortranOrder = accept("True");
      if (!header.fortranOrder) expect("False");
    } else fail("descr, fortran_order and shape, once each", "the header", key);
    if (tokens[at] !== "}") expect(",");
  }
  if (at !== tokens.length) fail("nothing after the dict", "the header", tokens[at]);
  const { dtype, shape, fortranOrder } = header;
  if (dtype === undefined || shape === undefined || fortranOrder === undefined) {
    fail("descr, fortran_order and shape", "the header", Object.keys(header));
  }
  if (shape.length > MAX_RANK) fail(`at most ${MAX_RANK} dimensions`, "shape", shape);
  return { dtype, shape, fortranOrder };
}

function readDescr(next: string | undefined, string: () => string): NpyDType {
  if (next === "[") fail("a plain dtype (no fields)", "descr", "a structured dtype");
  const descr = string();
  const dtype = /^[<=|]/.test(descr) ? BY_DESCR.get(descr.slice(1)) : undefined;
  if (dtype === undefined) {
    fail(`a little-endian dtype of ${[...BY_DESCR.keys()].join(", ")}`, "descr", descr);
  }
  return dtype;
}

/** Column-major data of `shape` in row-major order: the reverse of reading it with the shape reversed. */
function toRowMajor(data: NpyData, shape: readonly number[]): NpyData {
  const result = data.slice();
  const strides: number[] = [];
  shape.reduce((stride, dimension) => (strides.push(stride), stride * dimension), 1);
  const index = shape.map(() => 0);
  for (let to = 0, from = 0; to < data.length; to++) {
    result[to] = data[from] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const [stride = 0, dimension = 0] = [strides[axis], shape[axis]];
      const next = (index[axis] ?? 0) + 1;
      from += stride;
      if (next < dimension) {
        index[axis] = next;
        break;
      }
      index[axis] = 0;
      from -= stride * dimension;
    }
  }
  return result;
}

/**
 * Encodes one array, byte for byte as NumPy does (version 1.0, row-major, data at a multiple of 64).
 *
 * @throws ArgumentError when the data is not an array of the dtype; ShapeError when its length is wrong.
 */
export function encodeNpy({ dtype, shape, data }: NpyArray): Uint8Array {
  const fn = "encodeNpy";
  if (!Object.hasOwn(TYPES, dtype)) {
    throw new ArgumentError(
      expected(fn, `one of ${Object.keys(TYPES).join(", ")}`, "dtype", dtype),
    );
  }
  const { descr, array } = TYPES[dtype];
  if (!(data instanceof array)) throw new ArgumentError(expected(fn, array.name, "data", data));
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  if (
    size !== data.length ||
    !shape.every((dimension) => Number.isInteger(dimension) && dimension >= 0)
  ) {
    throw new ShapeError(expected(fn, `a shape of ${data.length} elements`, "shape", shape));
  }
  const order = array.BYTES_PER_ELEMENT === 1 ? "|" : "<";
  const tuple = shape.length === 1 ? `(${String(shape[0])},)` : `(${shape.join(", ")})`;
  const dict = `{'descr': '${order}${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const length = Math.ceil((10 + dict.length + 1) / 64) * 64;
  if (shape.length > MAX_RANK) {
    throw new ShapeError(expected(fn, `at most ${MAX_RANK} dimensions`, "shape", shape));
  }
  const bytes = Buffer.alloc(length + data.byteLength, " ");
  bytes.set([...MAGIC, 1, 0]);
  bytes.writeUInt16LE(length - 10, 8);
  bytes.write(dict, 10, "latin1");
  bytes.write("\n", length - 1, "latin1");
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), length);
  return bytes;
}
