/** safetensors files: reading by position, writing in the canonical order. */
import { promises as fs } from "node:fs";
import {
  ArgumentError,
  DisposedError,
  expected,
  FormatError,
  IoError,
  ShapeError,
} from "../errors.js";
import { toIoError } from "../io/fs-errors.js";
import { writeWhole } from "../io/whole-file.js";
import {
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  safetensorsBits,
  safetensorsHeaderLength,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from "./safetensors-header.js";

/** Data of a tensor: a typed array of its dtype, float16 and bfloat16 as bit patterns. */
export type SafetensorsData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export interface SafetensorsTensor {
  dtype: SafetensorsDType;
  shape: readonly number[];
  /** A typed array of the dtype, or the bytes as a Uint8Array. */
  data: SafetensorsData;
}

/** In the order of the file: widest alignment first. Types that are missing here are not written. */
const ARRAYS = {
  U64: BigUint64Array,
  I64: BigInt64Array,
  F64: Float64Array,
  F32: Float32Array,
  U32: Uint32Array,
  I32: Int32Array,
  BF16: Uint16Array,
  F16: Uint16Array,
  U16: Uint16Array,
  I16: Int16Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

const WRITE_ORDER: readonly string[] = Object.keys(ARRAYS);
const READ_BYTES = 2 ** 30;

/**
 * Opens a safetensors file and checks its header; no tensor is read. Close it after use.
 *
 * @throws IoError when the file cannot be read; FormatError with `details.reason` when it is malformed.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  let file: fs.FileHandle | undefined;
  try {
    file = await fs.open(path, "r");
    const { size } = await file.stat();
    const start = await readAt(file, 0, Math.min(8, size));
    const header = await readAt(file, 0, 8 + safetensorsHeaderLength(start, size));
    return new SafetensorsFile(path, file, parseSafetensorsHeader(header, size));
  } catch (cause) {
    await file?.close();
    if (cause instanceof FormatError) {
      throw new FormatError(`${cause.message} in ${path}`, {
        details: { ...cause.details, path },
        cause,
      });
    }
    throw toIoError("readSafetensors", "read", path, cause);
  }
}

/** An open safetensors file. */
export class SafetensorsFile {
  readonly path: string;
  /** Tensors by name, in the order of the header. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  #file: fs.FileHandle | undefined;
  readonly #dataStart: number;

  /** @internal Use `readSafetensors`. */
  constructor(path: string, file: fs.FileHandle, header: SafetensorsHeader) {
    this.path = path;
    this.entries = header.entries;
    this.metadata = header.metadata;
    this.#file = file;
    this.#dataStart = header.dataStart;
  }

  /**
   * Reads one tensor; nothing else of the file is touched.
   *
   * @returns a typed array of the dtype in row-major order; 16-bit floats as Uint16Array bit patterns,
   *   types without an array (8-bit floats, BOOL, opaque ones) as bytes.
   * @throws ArgumentError for an unknown name; DisposedError after `close`; IoError.
   */
  async read(name: string): Promise<SafetensorsData> {
    const entry = this.entries.get(name);
    if (entry === undefined) {
      throw new ArgumentError(
        expected("SafetensorsFile.read", `a tensor of ${this.path}`, "name", name),
      );
    }
    if (this.#file === undefined) {
      throw new DisposedError(
        `SafetensorsFile.read: expected an open file but ${this.path} is closed`,
      );
    }
    const [begin, end] = entry.offsets;
    const { buffer } = await this.#read(this.#file, this.#dataStart + begin, end - begin);
    return entry.dtype in ARRAYS
      ? new ARRAYS[entry.dtype as keyof typeof ARRAYS](buffer)
      : new Uint8Array(buffer);
  }

  async #read(file: fs.FileHandle, position: number, length: number) {
    try {
      return await readAt(file, position, length);
    } catch (cause) {
      throw toIoError("SafetensorsFile.read", "read", this.path, cause);
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Reads exactly `length` bytes into a buffer of their own (so that any typed array fits over it). */
async function readAt(
  file: fs.FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const { bytesRead } = await file.read(
      bytes,
      at,
      Math.min(length - at, READ_BYTES),
      position + at,
    );
    if (bytesRead === 0)
      throw new IoError(`readSafetensors: the file ended at byte ${position + at}`);
    at += bytesRead;
  }
  return bytes;
}

/**
 * Encodes tensors in the canonical layout: sorted by dtype alignment then name, offsets without gaps,
 * header padded with spaces to a multiple of 8.
 *
 * @param metadata strings for `__metadata__`, in this order. Model files that Hugging Face loads need
 *   `format: "pt"`.
 * @returns the chunks of the file in order: the header, then views of the data (not copies).
 * @throws ArgumentError for a name, dtype or metadata that cannot be written; ShapeError when the data
 *   does not have the bytes of the shape.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>>,
): Uint8Array[] {
  const sorted = Array.from(tensors, ([name, tensor]) => ({
    name,
    utf8: Buffer.from(checkText("name", name)),
    rank: WRITE_ORDER.indexOf(tensor.dtype),
    bytes: tensorBytes(name, tensor),
    tensor,
  })).sort((a, b) => a.rank - b.rank || Buffer.compare(a.utf8, b.utf8));

  const members: string[] = [];
  const pairs =
    metadata instanceof Map
      ? [...(metadata as ReadonlyMap<string, string>)]
      : Object.entries((metadata ?? {}) as Readonly<Record<string, string>>);
  if (metadata !== undefined) {
    for (const pair of pairs) for (const text of pair) checkText("metadata", text);
    members.push(
      `"__metadata__":{${pairs.map((pair) => pair.map((text) => JSON.stringify(text)).join(":")).join(",")}}`,
    );
  }
  let at = 0;
  for (const { name, bytes, tensor } of sorted) {
    const { dtype, shape } = tensor;
    const data_offsets = [at, at + bytes.length];
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets })}`);
    at += bytes.length;
  }
  const json = Buffer.from(`{${members.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new ArgumentError(
      expected(
        "encodeSafetensors",
        `a header of at most ${MAX_HEADER_BYTES} bytes`,
        "tensors",
        length,
      ),
    );
  }
  const header = Buffer.alloc(8 + length, " ");
  header.writeBigUInt64LE(BigInt(length));
  json.copy(header, 8);
  return [header, ...sorted.map(({ bytes }) => bytes).filter((bytes) => bytes.length > 0)];
}

/** Writes a safetensors file whole (temporary file, fsync, rename). See `encodeSafetensors`. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>>,
): Promise<void> {
  await writeWhole(path, encodeSafetensors(tensors, metadata));
}

function checkText(what: string, text: string): string {
  if (
    typeof text !== "string" ||
    /\p{Surrogate}/u.test(text) ||
    (what === "name" && text === "__metadata__")
  ) {
    throw new ArgumentError(expected("encodeSafetensors", "a string of valid Unicode", what, text));
  }
  return text;
}

function tensorBytes(name: string, { dtype, shape, data }: SafetensorsTensor): Uint8Array {
  const fn = "encodeSafetensors";
  if (!Object.hasOwn(ARRAYS, dtype)) {
    throw new ArgumentError(
      expected(fn, `one of ${WRITE_ORDER.join(", ")}`, `dtype of ${name}`, dtype),
    );
  }
  const array = ARRAYS[dtype as keyof typeof ARRAYS];
  if (!(data instanceof array || data instanceof Uint8Array)) {
    throw new ArgumentError(expected(fn, `${array.name} or bytes`, `data of ${name}`, data));
  }
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new ShapeError(expected(fn, "integers >= 0", `shape of ${name}`, shape));
  }
  const length = shape.reduce((product, size) => product * size, safetensorsBits(dtype) / 8);
  if (data.byteLength !== length) {
    throw new ShapeError(expected(fn, `${length} bytes`, `data of ${name}`, data.byteLength));
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
