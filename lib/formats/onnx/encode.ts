/** Writing ONNX files: what was not touched keeps its bytes, large tensors go to a data file. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { ArgumentError, expected, FormatError } from "../../errors.js";
import { placeTensors } from "./external-write.js";
import type { ExternalOptions } from "./external-write.js";
import type { OnnxModel } from "./model.js";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from "./onnx_pb.js";
import type { GraphProto, ModelProto, TensorProto } from "./onnx_pb.js";
import { copyMessage, GRAPH_FIELD, GRAPH_LISTS, MODEL_LISTS } from "./source-bytes.js";
import { sourceBytes, sourceRecord } from "./source-bytes.js";
import { wireRecords } from "./wire.js";

export interface EncodedOnnx {
  /** The .onnx file. */
  model: Uint8Array;
  /** The data file, undefined when nothing is external. */
  data: Uint8Array | undefined;
}

/**
 * Encodes a model. Nodes, initializers and everything else that was read from a file and not replaced
 * since are the same bytes as in that file.
 *
 * @param options.externalDataName the name (not a path) of the data file. With it, tensors that were
 *   external stay external and new tensors of at least `externalThresholdBytes` (default 65536) become
 *   external; without it everything is put inside the model. Tensors that were inside stay inside,
 *   unless the file would reach 2 GiB.
 * @throws FormatError "too-large" when the model would reach 2 GiB, or when external data of the source
 *   is gone.
 */
export function encodeOnnx(model: OnnxModel, options: ExternalOptions = {}): EncodedOnnx {
  const { externalDataName } = options;
  if (externalDataName !== undefined && !/^[^/\\\0]+$/.test(externalDataName)) {
    throw new ArgumentError(
      expected("encodeOnnx", "a file name", "externalDataName", externalDataName),
    );
  }
  const placed = placeTensors(model, options);
  const parts = encodeModel(placed.proto);
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  if (size >= 2 ** 31) {
    throw new FormatError(
      `encodeOnnx: expected less than 2 GiB for the model but received ${size} bytes` +
        (externalDataName === undefined ? "; give externalDataName" : ""),
      { details: { reason: "too-large" } },
    );
  }
  return { model: concat(parts), data: placed.data };
}

function encodeModel(model: ModelProto): Uint8Array[] {
  const source = sourceBytes(model);
  if (source === undefined) return [toBinary(ModelProtoSchema, model)];
  const rest = copyMessage(model);
  delete (rest as Partial<ModelProto>).graph;
  const { graph } = model;
  return encodeLike(ModelProtoSchema, source, {
    rest: Object.assign(rest, { opsetImport: [], metadataProps: [] }),
    lists: [
      list(MODEL_LISTS.opsetImport, OperatorSetIdProtoSchema, model.opsetImport),
      list(MODEL_LISTS.metadataProps, StringStringEntryProtoSchema, model.metadataProps),
    ],
    inner: graph === undefined ? undefined : { field: GRAPH_FIELD, parts: encodeGraph(graph) },
  });
}

function encodeGraph(graph: GraphProto): Uint8Array[] {
  const source = sourceBytes(graph);
  if (source === undefined) return [toBinary(GraphProtoSchema, graph)];
  const empty = { node: [], initializer: [], input: [], output: [], valueInfo: [] };
  return encodeLike(GraphProtoSchema, source, {
    rest: Object.assign(copyMessage(graph), empty),
    lists: [
      list(GRAPH_LISTS.node, NodeProtoSchema, graph.node),
      list(GRAPH_LISTS.initializer, TensorProtoSchema, graph.initializer),
      list(GRAPH_LISTS.input, ValueInfoProtoSchema, graph.input),
      list(GRAPH_LISTS.output, ValueInfoProtoSchema, graph.output),
      list(GRAPH_LISTS.valueInfo, ValueInfoProtoSchema, graph.valueInfo),
    ],
    inner: undefined,
  });
}

/** A repeated field: the current items and how far they have been written. */
interface ListField {
  field: number;
  items: readonly object[];
  /** Items before this one are written. */
  next: number;
  encode: (index: number) => Uint8Array[];
}

function list<S extends DescMessage>(
  field: number,
  schema: S,
  items: readonly MessageShape<S>[],
): ListField {
  const encode = (index: number): Uint8Array[] => {
    const item = items[index];
    return item === undefined ? [] : encodeItem(field, schema, item);
  };
  return { field, items, next: 0, encode };
}

/**
 * Writes a message in the order of the records it came from: items of lists in place, new ones before
 * the old item they precede, other fields as they stood unless they changed.
 */
function encodeLike<S extends DescMessage>(
  schema: S,
  source: Uint8Array,
  message: {
    rest: MessageShape<S>;
    lists: ListField[];
    inner: { field: number; parts: Uint8Array[] } | undefined;
  },
): Uint8Array[] {
  const records = [...wireRecords(source)];
  const lists = new Map(message.lists.map((entry) => [entry.field, entry]));
  const isRest = (field: number): boolean => !lists.has(field) && field !== message.inner?.field;
  const bytesOf = ({ start, end }: { start: number; end: number }): Uint8Array =>
    source.subarray(start, end);
  const restBytes = toBinary(schema, message.rest);
  const before = concat(records.filter(({ field }) => isRest(field)).map(bytesOf));
  const restChanged = !sameBytes(restBytes, toBinary(schema, fromBinary(schema, before)));
  const parts: Uint8Array[] = restChanged ? [restBytes] : [];
  const places = new Map<number, number>();
  for (const { items } of lists.values()) {
    items.forEach((item, index) => {
      const record = sourceRecord(item);
      if (record?.bytes.buffer === source.buffer) places.set(record.bytes.byteOffset, index);
    });
  }
  // Not push(...many): a call takes only so many arguments.
  const push = (more: Uint8Array[]): void => {
    for (const part of more) parts.push(part);
  };
  const writeUpTo = (entry: ListField, end: number): void => {
    for (; entry.next < end; entry.next++) push(entry.encode(entry.next));
  };
  const last = new Map(records.map(({ field }, index) => [field, index]));
  let innerWritten = false;
  for (const [index, record] of records.entries()) {
    const entry = lists.get(record.field);
    if (entry !== undefined) {
      const place = places.get(source.byteOffset + record.start);
      if (place !== undefined) writeUpTo(entry, place + 1);
      if (last.get(record.field) === index) writeUpTo(entry, entry.items.length);
    } else if (record.field === message.inner?.field) {
      if (!innerWritten) push(delimited(record.field, message.inner.parts));
      innerWritten = true;
    } else if (!restChanged) {
      parts.push(bytesOf(record));
    }
  }
  for (const entry of lists.values()) writeUpTo(entry, entry.items.length);
  if (message.inner !== undefined && !innerWritten) {
    push(delimited(message.inner.field, message.inner.parts));
  }
  return parts;
}

function encodeItem<S extends DescMessage>(
  field: number,
  schema: S,
  item: MessageShape<S>,
): Uint8Array[] {
  const record = sourceRecord(item);
  if (record !== undefined && unchanged(schema, item, record.payload)) return [record.bytes];
  return delimited(field, [toBinary(schema, item)]);
}

/** True when the message says what its source said, however that was encoded. */
function unchanged<S extends DescMessage>(
  schema: S,
  item: MessageShape<S>,
  payload: Uint8Array,
): boolean {
  const before = fromBinary(schema, payload);
  if (!sharesRawData(item, before)) {
    return sameBytes(toBinary(schema, item), toBinary(schema, before));
  }
  const light = (message: MessageShape<S>): Uint8Array => toBinary(schema, withoutRawData(message));
  return sameBytes(light(item), light(before));
}

/** Saves copying the data of large tensors only to compare it with itself. */
function sharesRawData(a: Message, b: Message): boolean {
  const [x, y] = [(a as Partial<TensorProto>).rawData, (b as Partial<TensorProto>).rawData];
  return (
    x !== undefined &&
    x.buffer === y?.buffer &&
    x.byteOffset === y.byteOffset &&
    x.length === y.length
  );
}

function withoutRawData<M extends object>(message: M): M {
  const copy = copyMessage(message);
  delete (copy as Partial<TensorProto>).rawData;
  return copy;
}

function delimited(field: number, parts: Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [Uint8Array.from([...varint(field * 8 + 2), ...varint(length)]), ...parts];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
