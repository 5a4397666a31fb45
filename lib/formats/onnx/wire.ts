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

/** What is wrong with the bytes, and where. `depth` 0 is the outermost message. */
export class WireError extends Error {
  readonly kind: "truncated" | "damaged" | "too-large";
  readonly position: number;
  readonly depth: number;

  constructor(
    kind: WireError["kind"],
    what: string,
    { position, depth }: { position: number; depth: number },
  ) {
    super(`${what} at byte ${position}`);
    this.kind = kind;
    this.position = position;
    this.depth = depth;
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

/** Walks the records of the message in `bytes[start, end)`. @throws WireError */
export function* wireRecords(
  bytes: Uint8Array,
  {
    start = 0,
    end = bytes.length,
    depth = 0,
  }: { start?: number; end?: number; depth?: number } = {},
): Generator<WireRecord> {
  const cursor: Cursor = { bytes, position: start, end, depth };
  while (cursor.position < end) yield nextRecord(cursor);
}

interface Cursor {
  bytes: Uint8Array;
  position: number;
  end: number;
  depth: number;
}

function nextRecord(cursor: Cursor): WireRecord {
  const start = cursor.position;
  const tag = readVarint(cursor);
  const field = Math.floor(tag / 8);
  const wireType = tag % 8;
  if (field === 0 || tag > 0xffffffff) {
    throw new WireError("damaged", "an impossible field number", { ...cursor, position: start });
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
    if (length < 0) {
      throw new WireError("damaged", `wire type ${wireType}`, { ...cursor, position: start });
    }
    if (length > cursor.end - value) {
      throw new WireError(
        "truncated",
        `a field of ${length} bytes where ${cursor.end - value} are left`,
        { ...cursor, position: start },
      );
    }
    cursor.position = value + length;
  }
  return { field, wireType, start, value, end: cursor.position };
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
  const budget = { heap: 0 };
  checkMessage(schema, { bytes, position: 0, end: bytes.length, depth: 0 }, budget);
}

function checkMessage(schema: DescMessage, cursor: Cursor, budget: { heap: number }): void {
  if (cursor.depth > MAX_DEPTH) {
    throw new WireError("too-large", `more than ${MAX_DEPTH} nested messages`, cursor);
  }
  const fields = fieldsOf(schema);
  budget.heap += 160;
  while (cursor.position < cursor.end) {
    const record = nextRecord(cursor);
    const field = fields.get(record.field);
    const at = { position: record.start, depth: cursor.depth };
    if (field !== undefined && !wireTypeFits(field, record.wireType)) {
      throw new WireError("damaged", `wire type ${record.wireType} for ${field.name}`, at);
    }
    if (field?.message !== undefined) {
      const inner = { ...cursor, position: record.value, end: record.end, depth: cursor.depth + 1 };
      checkMessage(field.message, inner, budget);
    } else {
      budget.heap += heapOf(field, record);
    }
    if (budget.heap > MAX_HEAP_BYTES) {
      throw new WireError("too-large", "more structure than fits into memory", at);
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
