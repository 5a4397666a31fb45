/**
 * A look at protobuf bytes before they are decoded: nothing is allocated, so a damaged or hostile file
 * is refused here instead of exhausting the stack or the heap in the decoder. Lengths must nest, wire
 * types must fit the schema, nesting is bounded, and so is the memory the decoded message would take.
 */
import { ScalarType } from "@bufbuild/protobuf";
import type { DescField, DescMessage } from "@bufbuild/protobuf";

/** Deeper than any real model (bodies of If and Loop nest two levels each). */
const MAX_DEPTH = 60;
/** Estimated JavaScript heap of the decoded message; payloads of `bytes` fields are views and free. */
const MAX_HEAP_BYTES = 2 ** 30;

/** What is wrong with the bytes. `depth` 0 is the outermost message. */
export class WireError extends Error {
  readonly kind: "truncated" | "damaged" | "too-large";
  readonly depth: number;

  constructor(
    kind: WireError["kind"],
    what: string,
    cursor: { position: number; depth: number },
    position = cursor.position,
  ) {
    super(`${what} at byte ${position}`);
    this.kind = kind;
    this.depth = cursor.depth;
  }
}

/** One record of a message: field number, wire type, and where its bytes are. */
export interface WireRecord {
  field: number;
  wireType: number;
  /** First byte of the tag. */
  start: number;
  /** First byte of the value; for wire type 2 the first byte after the length. */
  value: number;
  end: number;
}

/** Walks the records of the message in `bytes`. @throws WireError */
export function* wireRecords(bytes: Uint8Array): Generator<WireRecord> {
  const cursor: Cursor = { bytes, position: 0, end: bytes.length, depth: 0 };
  while (cursor.position < cursor.end) {
    const record = { field: 0, wireType: 0, start: 0, value: 0, end: 0 };
    nextRecord(cursor, record);
    yield record;
  }
}

interface Cursor {
  readonly bytes: Uint8Array;
  position: number;
  /** Where the innermost open message ends. */
  end: number;
  depth: number;
}

/** Reads the tag and skips the value; the result goes to `record`, so that a scan allocates nothing. */
function nextRecord(cursor: Cursor, record: WireRecord): void {
  const start = cursor.position;
  const tag = readVarint(cursor);
  const field = Math.floor(tag / 8);
  const wireType = tag % 8;
  if (field === 0 || tag > 0xffffffff) {
    throw new WireError("damaged", "an impossible field number", cursor, start);
  }
  let value = cursor.position;
  if (wireType === 0) {
    readVarint(cursor);
  } else {
    let length = wireType === 1 ? 8 : wireType === 5 ? 4 : -1;
    if (wireType === 2) {
      length = readVarint(cursor);
      value = cursor.position;
    }
    if (length < 0) throw new WireError("damaged", `wire type ${wireType}`, cursor, start);
    const left = cursor.end - value;
    if (length > left) {
      const what = `a field of ${length} bytes where ${left} are left`;
      throw new WireError("truncated", what, cursor, start);
    }
    cursor.position = value + length;
  }
  record.field = field;
  record.wireType = wireType;
  record.start = start;
  record.value = value;
  record.end = cursor.position;
}

/** The value of a varint; above 2^53 only an approximation, which is enough to refuse it. */
function readVarint(cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (cursor.position >= cursor.end) {
      throw new WireError("truncated", "the end of the data inside a number", cursor);
    }
    const byte = cursor.bytes[cursor.position++] ?? 0;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return value;
  }
  throw new WireError("damaged", "a number of more than 10 bytes", cursor);
}

/**
 * Checks that `bytes` hold a message of this schema that is safe to decode.
 *
 * @throws WireError
 */
export function checkWire(schema: DescMessage, bytes: Uint8Array): void {
  const cursor = { bytes, position: 0, end: bytes.length, depth: 0 };
  const record = { field: 0, wireType: 0, start: 0, value: 0, end: 0 };
  checkMessage(schema, { cursor, record, heap: 0 });
}

interface Scan {
  readonly cursor: Cursor;
  readonly record: WireRecord;
  /** Estimated bytes of heap so far. */
  heap: number;
}

function checkMessage(schema: DescMessage, scan: Scan): void {
  const { cursor, record } = scan;
  if (cursor.depth > MAX_DEPTH) {
    throw new WireError("too-large", `more than ${MAX_DEPTH} nested messages`, cursor);
  }
  const fields = fieldsOf(schema);
  scan.heap += 160;
  while (cursor.position < cursor.end) {
    nextRecord(cursor, record);
    const field = fields.get(record.field);
    if (field !== undefined && !wireTypeFits(field, record.wireType)) {
      const what = `wire type ${record.wireType} for ${field.name}`;
      throw new WireError("damaged", what, cursor, record.start);
    }
    if (field?.message !== undefined) {
      const { end } = cursor;
      cursor.position = record.value;
      cursor.end = record.end;
      cursor.depth++;
      checkMessage(field.message, scan);
      cursor.end = end;
      cursor.depth--;
    } else {
      scan.heap += heapOf(field, record);
    }
    if (scan.heap > MAX_HEAP_BYTES) {
      throw new WireError("too-large", "more structure than fits into memory", cursor);
    }
  }
}

/** Bytes of heap, roughly and on the high side, that a decoded record takes. */
function heapOf(field: DescField | undefined, record: WireRecord): number {
  const length = record.end - record.value;
  switch (field?.scalar) {
    case undefined: // unknown: an object and a view
    case ScalarType.BYTES:
      return 240;
    case ScalarType.STRING:
      return 40 + length;
    case ScalarType.FLOAT:
      return record.wireType === 2 ? 2 * length : 8;
    case ScalarType.DOUBLE:
    case ScalarType.INT32:
      return record.wireType === 2 ? 8 * length : 8;
    default: // 64-bit integers become bigint: a pointer and an object
      return record.wireType === 2 ? 32 * length : 32;
  }
}

function wireTypeFits(field: DescField, wireType: number): boolean {
  if (field.message !== undefined) return wireType === 2;
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return wireType === 2;
    case ScalarType.FLOAT:
      return wireType === 5 || (wireType === 2 && field.fieldKind === "list");
    case ScalarType.DOUBLE:
      return wireType === 1 || (wireType === 2 && field.fieldKind === "list");
    default:
      return wireType === 0 || (wireType === 2 && field.fieldKind === "list");
  }
}

const FIELDS = new WeakMap<DescMessage, Map<number, DescField>>();

function fieldsOf(schema: DescMessage): Map<number, DescField> {
  let fields = FIELDS.get(schema);
  if (fields === undefined) {
    fields = new Map(schema.fields.map((field) => [field.number, field]));
    FIELDS.set(schema, fields);
  }
  return fields;
}
