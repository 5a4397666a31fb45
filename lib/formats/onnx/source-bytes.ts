/**
 * The bytes that messages were decoded from. Protobuf allows many encodings of one message; what osculate
 * does not touch is written back as it was read, so the encoder needs the original records.
 */
import type { GraphProto, ModelProto } from "./onnx_pb.js";
import { wireRecords } from "./wire.js";

/** A record as it stood in the file. */
export interface SourceRecord {
  /** Tag, length and value. */
  bytes: Uint8Array;
  /** The value alone. */
  payload: Uint8Array;
}

/** Field numbers of the lists whose items are followed one by one. */
export const GRAPH_LISTS = {
  node: 1,
  initializer: 5,
  input: 11,
  output: 12,
  valueInfo: 13,
} as const;
export const MODEL_LISTS = { opsetImport: 8, metadataProps: 14 } as const;
/** ModelProto.graph */
export const GRAPH_FIELD = 7;

const RECORDS = new WeakMap<object, SourceRecord>();
const SOURCES = new WeakMap<object, Uint8Array>();

/** Remembers, for the model, its graph and the items of their lists, where they came from. */
export function rememberSource(model: ModelProto, bytes: Uint8Array): void {
  const graphs = [...wireRecords(bytes)].filter(({ field }) => field === GRAPH_FIELD);
  const [only] = graphs;
  // Several graph records would be merged: legal, never seen, and then nothing is remembered.
  if (model.graph === undefined || only === undefined || graphs.length > 1) return;
  const graphBytes = bytes.subarray(only.value, only.end);
  SOURCES.set(model, bytes);
  SOURCES.set(model.graph, graphBytes);
  rememberItems(bytes, MODEL_LISTS, model);
  rememberItems(graphBytes, GRAPH_LISTS, model.graph);
}

function rememberItems<L extends Record<string, number>>(
  bytes: Uint8Array,
  lists: L,
  message: { [K in keyof L]: readonly object[] },
): void {
  const queues = new Map<number, Iterator<object>>();
  for (const [name, field] of Object.entries(lists)) {
    queues.set(field, (message[name as keyof L] as readonly object[])[Symbol.iterator]());
  }
  for (const { field, start, value, end } of wireRecords(bytes)) {
    const item = queues.get(field)?.next().value as object | undefined;
    if (item === undefined) continue;
    RECORDS.set(item, { bytes: bytes.subarray(start, end), payload: bytes.subarray(value, end) });
  }
}

/** The record a list item was read from; undefined for a new item. */
export function sourceRecord(item: object): SourceRecord | undefined {
  return RECORDS.get(item);
}

/** The bytes a model or its graph was read from; undefined for one made in memory. */
export function sourceBytes(message: ModelProto | GraphProto): Uint8Array | undefined {
  return SOURCES.get(message);
}

/** Says that `to` began as a copy of `from`. */
export function copySource(from: ModelProto | GraphProto, to: ModelProto | GraphProto): void {
  const source = SOURCES.get(from);
  if (source !== undefined) SOURCES.set(to, source);
}

/**
 * A message with the same fields, lists and inner messages shared. It counts as new: it is encoded from
 * its fields. (Spreading would lose the prototype, where the defaults of unset fields live.)
 */
export function copyMessage<T extends object>(message: T): T {
  return Object.assign(
    Object.create(Object.getPrototypeOf(message) as object | null),
    message,
  ) as T;
}
