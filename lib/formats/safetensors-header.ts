/** The header of a safetensors file: element types, and every rule that a hostile file may break. */
import { ArgumentError, describe, expected, FormatError } from "../errors.js";
import { parseStrictJson, type StrictJson } from "./strict-json.js";

/** Bits of an element. Types from `F8_E8M0` on are read as opaque bytes and not written. */
const BITS = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  C64: 64,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
} as const;

export type SafetensorsDType = keyof typeof BITS;

export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  /** Row-major; `[]` is a scalar, a 0 means no elements. */
  readonly shape: readonly number[];
  /** First byte and end, from the start of the data (the byte after the header). */
  readonly offsets: readonly [begin: number, end: number];
}

export interface SafetensorsHeader {
  /** Tensors by name, in the order of the header. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data starts in the file: `8 + header length`. */
  readonly dataStart: number;
}

/** The rule a file breaks: `details.reason` of the FormatError. */
export type SafetensorsReason =
  | "HeaderTooSmall"
  | "HeaderTooLarge"
  | "InvalidHeaderLength"
  | "InvalidHeader"
  | "InvalidHeaderStart"
  | "InvalidHeaderDeserialization"
  | "ValidationOverflow"
  | "InvalidOffset"
  | "TensorInvalidInfo"
  | "MetadataIncompleteBuffer";

export const MAX_HEADER_BYTES = 100_000_000;
const MAX_TENSORS = 10_000_000;
const U64_MAX = 2n ** 64n - 1n;

/** Bits of one element of `dtype`. */
export function safetensorsBits(dtype: SafetensorsDType): number {
  return BITS[dtype];
}

function fail(reason: SafetensorsReason, message: string, cause?: unknown): never {
  throw new FormatError(`readSafetensors: ${message} (${reason})`, { details: { reason }, cause });
}

/**
 * The length of the header that follows the first 8 bytes.
 *
 * @param start the first 8 bytes of the file, or all of a shorter file.
 * @throws FormatError with `details.reason` HeaderTooSmall, HeaderTooLarge or InvalidHeaderLength.
 */
export function safetensorsHeaderLength(start: Uint8Array, fileSize: number): number {
  if (fileSize < 8 || start.length < 8) {
    fail("HeaderTooSmall", `expected at least 8 bytes for the file but received ${fileSize}`);
  }
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    fail(
      "HeaderTooLarge",
      `expected at most 100000000 for the header length but received ${String(length)}`,
    );
  }
  if (8n + length > BigInt(fileSize)) {
    fail(
      "InvalidHeaderLength",
      `expected a header inside the file of ${fileSize} bytes but received a header of ${String(length)}; ` +
        "the file is cut off or no safetensors file",
    );
  }
  return Number(length);
}

/**
 * Parses and checks the header of a safetensors file.
 *
 * @param bytes the file from its first byte to at least the end of the header.
 * @param fileSize bytes of the whole file; the tensors must cover it exactly.
 * @throws FormatError; `details.reason` is the first rule that fails (a `SafetensorsReason`).
 */
export function parseSafetensorsHeader(bytes: Uint8Array, fileSize: number): SafetensorsHeader {
  const length = safetensorsHeaderLength(bytes, fileSize);
  if (bytes.length < 8 + length) {
    throw new ArgumentError(
      expected("parseSafetensorsHeader", `at least ${8 + length} bytes`, "bytes", bytes.length),
    );
  }
  const members = parseObject(decode(bytes.subarray(8, 8 + length)));
  const metadata = readMetadata(members.get("__metadata__"));
  members.delete("__metadata__");
  const tensors = Array.from(members, ([name, value]) => readEntry(name, value));
  checkLayout(tensors, BigInt(fileSize - 8 - length));
  return {
    dataStart: 8 + length,
    metadata,
    entries: new Map(
      tensors.map(({ name, dtype, shape, begin, end }) => [
        name,
        { dtype, shape: shape.map(Number), offsets: [Number(begin), Number(end)] },
      ]),
    ),
  };
}

interface RawEntry {
  name: string;
  dtype: SafetensorsDType;
  shape: bigint[];
  begin: bigint;
  end: bigint;
}

function decode(header: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch (cause) {
    fail("InvalidHeader", "expected UTF-8 for the header but received other bytes", cause);
  }
  if (text.length > 0 && !text.startsWith("{")) {
    fail("InvalidHeaderStart", `expected '{' for the header but received ${describe(text[0])}`);
  }
  return text;
}

function parseObject(text: string): Map<string, StrictJson> {
  let value: StrictJson;
  try {
    // One key more than the tensors: __metadata__.
    value = parseStrictJson(text, { maxDepth: 8, maxKeys: MAX_TENSORS + 1 });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    fail("InvalidHeaderDeserialization", `expected JSON for the header: ${cause.message}`, cause);
  }
  if (!(value instanceof Map)) invalid("an object", "the header", value);
  return value;
}

function invalid(what: string, name: string, received: unknown): never {
  fail(
    "InvalidHeaderDeserialization",
    `expected ${what} for ${name} but received ${describe(received)}`,
  );
}

function readMetadata(value: StrictJson | undefined): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (!(value instanceof Map)) invalid("an object of strings", "__metadata__", value);
  for (const [key, text] of value) {
    if (typeof text !== "string") invalid("a string", `__metadata__ ${describe(key)}`, text);
    metadata.set(key, text);
  }
  return metadata;
}

function isU64(value: StrictJson | undefined): value is bigint {
  return typeof value === "bigint" && value >= 0n && value <= U64_MAX;
}

/** Fields beside the three known ones are ignored, as the reference reader does. */
function readEntry(name: string, value: StrictJson): RawEntry {
  const tensor = `tensor ${describe(name)}`;
  if (!(value instanceof Map)) invalid("an object", tensor, value);
  const dtype = value.get("dtype");
  if (typeof dtype !== "string" || !Object.hasOwn(BITS, dtype)) {
    invalid("a known dtype", tensor, dtype);
  }
  const shape = value.get("shape");
  if (!Array.isArray(shape) || !shape.every(isU64)) {
    invalid("integers >= 0 in shape", tensor, shape);
  }
  const offsets = value.get("data_offsets");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isU64)) {
    invalid("two integers >= 0 in data_offsets", tensor, offsets);
  }
  const [begin = 0n, end = 0n] = offsets;
  return { name, dtype: dtype as SafetensorsDType, shape, begin, end };
}

/** The tensors, sorted by offset, must cover the data from its first byte to its last without gaps. */
function checkLayout(tensors: readonly RawEntry[], dataBytes: bigint): void {
  const compare = (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = tensors.toSorted((a, b) => compare(a.begin, b.begin) || compare(a.end, b.end));
  let at = 0n;
  for (const { name, dtype, shape, begin, end } of sorted) {
    const tensor = `tensor ${describe(name)}`;
    if (begin !== at || end < begin) {
      fail(
        "InvalidOffset",
        `expected data that starts at ${String(at)} for ${tensor} but received offsets ${describe([begin, end])}`,
      );
    }
    const bits = elements(tensor, shape) * BigInt(BITS[dtype]);
    if (bits / 8n > U64_MAX) overflow(tensor, shape);
    if (bits % 8n !== 0n || end - begin !== bits / 8n) {
      fail(
        "TensorInvalidInfo",
        `expected ${String(bits)} bits of data for ${tensor} but received ${String(end - begin)} bytes`,
      );
    }
    at = end;
  }
  if (at !== dataBytes) {
    fail(
      "MetadataIncompleteBuffer",
      `expected ${String(at)} bytes of data after the header but received ${String(dataBytes)}`,
    );
  }
}

function elements(tensor: string, shape: readonly bigint[]): bigint {
  let product = 1n;
  for (const size of shape) {
    product *= size;
    // A size beyond 2^53 only fits a tensor without elements; a number cannot hold it.
    if (product > U64_MAX || size > BigInt(Number.MAX_SAFE_INTEGER)) overflow(tensor, shape);
  }
  return product;
}

function overflow(tensor: string, shape: readonly bigint[]): never {
  fail(
    "ValidationOverflow",
    `expected a size below 2^64 bytes for ${tensor} but received shape ${describe(shape)}`,
  );
}
