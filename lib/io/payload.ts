/**
 * Typed arrays and a plain value in one byte string: what the journal keeps of a finished layer.
 *
 *     "OSCPAY01"  u32 header length  header (JSON)  padding to 8  arrays, each padded to 8
 *
 * Little-endian, like every machine this runs on. The same content always gives the same bytes.
 */
import { FormatError } from "../errors.js";

const MAGIC = "OSCPAY01";
const TYPES = {
  uint8: Uint8Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
};

type TypeName = keyof typeof TYPES;
export type PayloadArray = Uint8Array | Int32Array | Float32Array | Float64Array;

export interface Payload {
  /** Anything JSON can hold. */
  readonly meta: unknown;
  readonly arrays: Readonly<Record<string, PayloadArray>>;
}

interface Header {
  meta: unknown;
  arrays: { name: string; type: TypeName; length: number }[];
}

const align8 = (bytes: number): number => Math.ceil(bytes / 8) * 8;

function typeOf(array: PayloadArray): TypeName {
  if (array instanceof Uint8Array) return "uint8";
  if (array instanceof Int32Array) return "int32";
  return array instanceof Float32Array ? "float32" : "float64";
}

/** Bytes of a payload. */
export function encodePayload(payload: Payload): Uint8Array {
  const entries = Object.entries(payload.arrays).sort(([a], [b]) => (a < b ? -1 : 1));
  const header: Header = { meta: payload.meta, arrays: [] };
  let total = 0;
  for (const [name, array] of entries) {
    header.arrays.push({ name, type: typeOf(array), length: array.length });
    total += align8(array.byteLength);
  }
  const text = Buffer.from(JSON.stringify(header), "utf8");
  const start = align8(MAGIC.length + 4 + text.length);
  const bytes = new Uint8Array(start + total);
  bytes.set(Buffer.from(MAGIC, "ascii"));
  new DataView(bytes.buffer).setUint32(MAGIC.length, text.length, true);
  bytes.set(text, MAGIC.length + 4);
  let at = start;
  for (const [, array] of entries) {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    at += align8(array.byteLength);
  }
  return bytes;
}

/**
 * The payload in `bytes`; arrays are copies.
 *
 * @throws FormatError when the bytes are not a whole payload.
 */
export function decodePayload(bytes: Uint8Array): Payload {
  const bad = (reason: string): FormatError =>
    new FormatError(`decodePayload: expected a whole payload for bytes but ${reason}`, {
      details: { reason },
    });
  if (bytes.length < MAGIC.length + 4) throw bad(`received ${bytes.length} bytes`);
  if (Buffer.from(bytes.subarray(0, MAGIC.length)).toString("ascii") !== MAGIC) {
    throw bad("the first bytes are not OSCPAY01");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(MAGIC.length, true);
  const headerStart = MAGIC.length + 4;
  if (headerStart + length > bytes.length) throw bad("the header is cut off");
  let header: Header;
  try {
    const text = Buffer.from(bytes.subarray(headerStart, headerStart + length)).toString("utf8");
    header = JSON.parse(text) as Header;
  } catch (cause) {
    throw new FormatError("decodePayload: the header is not JSON", { cause });
  }
  const arrays: Record<string, PayloadArray> = {};
  let at = align8(headerStart + length);
  for (const { name, type, length: count } of header.arrays) {
    const Type = TYPES[type];
    const size = count * Type.BYTES_PER_ELEMENT;
    if (at + size > bytes.length) throw bad(`the array ${name} is cut off`);
    arrays[name] = new Type(new Uint8Array(bytes.subarray(at, at + size)).buffer);
    at += align8(size);
  }
  if (at !== bytes.length) throw bad("bytes are left over");
  return { meta: header.meta, arrays };
}
