/** Reading ONNX files. */
import { promises as fs } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { FormatError } from "../../errors.js";
import { toIoError } from "../../io/fs-errors.js";
import { externalPlace, isExternal } from "./external.js";
import { ModelProtoSchema } from "./onnx_pb.js";
import type { GraphProto, ModelProto, NodeProto, TensorProto } from "./onnx_pb.js";
import { copyMessage, copySource, rememberSource } from "./source-bytes.js";
import { decodeTensor } from "./tensor-data.js";
import type { TensorData } from "./tensor-data.js";
import { checkWire, WireError, wireRecords } from "./wire.js";

/**
 * An ONNX model in memory.
 *
 * Messages are replaced, never changed in place, by the functions of osculate: models made by `fork`
 * share them. Do the same when you edit `proto` yourself.
 */
export class OnnxModel {
  /** The file it came from (external data is looked for beside it); "" for a model made in memory. */
  readonly path: string;
  readonly proto: ModelProto;

  constructor(proto: ModelProto, options: { path?: string } = {}) {
    this.proto = proto;
    this.path = options.path ?? "";
  }

  /** The main graph. @throws FormatError when the model has none. */
  get graph(): GraphProto {
    const { graph } = this.proto;
    if (graph === undefined) throw refuse(this.path, "empty-graph", "it has no graph");
    return graph;
  }

  /** The imported version of an operator set, undefined when it is not imported. Default domain: "". */
  opset(domain = ""): number | undefined {
    const wanted = canonicalDomain(domain);
    const found = this.proto.opsetImport.find((entry) => canonicalDomain(entry.domain) === wanted);
    return found === undefined ? undefined : Number(found.version);
  }

  /**
   * Decodes a tensor of this model; external data is read now, with its bounds checked.
   *
   * @throws FormatError, see `decodeTensor`.
   */
  tensorData(tensor: TensorProto): TensorData {
    return decodeTensor(this.path, tensor);
  }

  /** A model with its own lists of nodes, initializers, inputs and outputs that shares their messages. */
  fork(): OnnxModel {
    const proto = copyMessage(this.proto);
    proto.opsetImport = [...proto.opsetImport];
    if (proto.graph !== undefined) {
      const graph = copyMessage(proto.graph);
      graph.node = [...graph.node];
      graph.initializer = [...graph.initializer];
      graph.input = [...graph.input];
      graph.output = [...graph.output];
      graph.valueInfo = [...graph.valueInfo];
      copySource(proto.graph, graph);
      proto.graph = graph;
    }
    copySource(this.proto, proto);
    return new OnnxModel(proto, { path: this.path });
  }
}

/** "ai.onnx" is another spelling of the default domain. */
export function canonicalDomain(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

/**
 * Reads an ONNX file. Where external data is used, its files and bounds are checked now and its bytes
 * are read when a tensor is asked for.
 *
 * @throws IoError when the file cannot be read; FormatError with `details.reason`: "truncated",
 *   "not-onnx", "damaged", "too-large", "empty-graph", or the "external-..." reasons.
 */
export async function readOnnx(path: string): Promise<OnnxModel> {
  let bytes: Uint8Array;
  try {
    const { size } = await fs.stat(path);
    if (size >= 2 ** 31) {
      throw refuse(path, "too-large", "a protobuf file must be smaller than 2 GiB");
    }
    const buffer = await fs.readFile(path);
    bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  } catch (cause) {
    throw toIoError("readOnnx", "read", path, cause);
  }
  return parseOnnx(bytes, { path });
}

/**
 * Decodes the bytes of an ONNX file. The model keeps views of `bytes`: do not change them.
 *
 * @param options.path the file the bytes came from; without it external data is refused.
 * @throws FormatError, see `readOnnx`.
 */
export function parseOnnx(bytes: Uint8Array, options: { path?: string } = {}): OnnxModel {
  const path = options.path ?? "";
  checkBytes(path, bytes);
  let proto: ModelProto;
  try {
    proto = fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw refuse(path, "damaged", "it cannot be decoded", cause);
  }
  const { graph } = proto;
  const missing = (what: string): FormatError =>
    proto.irVersion > 0n
      ? refuse(path, "truncated", `it has no ${what}; was it cut off?`)
      : refuse(path, "not-onnx", `it has neither an IR version nor a complete model`);
  if (graph === undefined) throw missing("graph");
  if (proto.opsetImport.length === 0) throw missing("operator set import");
  if (graph.node.length === 0) throw refuse(path, "empty-graph", "its graph has no nodes");
  rememberSource(proto, bytes);
  const model = new OnnxModel(proto, { path });
  for (const tensor of tensorsOf(graph)) if (isExternal(tensor)) externalPlace(path, tensor);
  return model;
}

/** Every tensor stored in a graph: initializers and tensor attributes, bodies of nodes included. */
export function* tensorsOf(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer;
  for (const node of graph.node) {
    for (const attribute of node.attribute) {
      if (attribute.t !== undefined) yield attribute.t;
      yield* attribute.tensors;
    }
    for (const body of bodiesOf(node)) yield* tensorsOf(body);
  }
}

/** The graphs that a node holds as attributes (If, Loop, Scan). */
export function bodiesOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g === undefined ? graphs : [g, ...graphs]));
}

function checkBytes(path: string, bytes: Uint8Array): void {
  if (bytes.length === 0) throw refuse(path, "truncated", "it is empty");
  if (!looksLikeModel(bytes)) {
    const pointer = new TextDecoder().decode(bytes.subarray(0, 200)).includes("git-lfs");
    throw refuse(
      path,
      "not-onnx",
      pointer
        ? "it is a Git LFS pointer, not the file itself"
        : "its first bytes are something else",
    );
  }
  try {
    checkWire(ModelProtoSchema, bytes);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    const cutOff = cause.kind === "truncated" && cause.depth === 0;
    const reason = cause.kind === "truncated" && !cutOff ? "damaged" : cause.kind;
    throw refuse(path, reason, cutOff ? `it was cut off: ${cause.message}` : cause.message, cause);
  }
}

/** True when the first record is one that a model can start with. */
function looksLikeModel(bytes: Uint8Array): boolean {
  const known = new Map(ModelProtoSchema.fields.map((field) => [field.number, field]));
  try {
    for (const { field, wireType } of wireRecords(bytes)) {
      const described = known.get(field);
      // Fields 20, 25 and 26 (training, functions, configuration) are not in our schema.
      if (described === undefined) return [20, 25, 26].includes(field) && wireType === 2;
      const isNumber = described.name === "ir_version" || described.name === "model_version";
      return wireType === (isNumber ? 0 : 2);
    }
  } catch {
    // Cut off inside the first record: only the tag can speak.
    const first = bytes[0] ?? 0;
    return first === 0x08 || first === 0x3a;
  }
  return false;
}

function refuse(path: string, reason: string, why: string, cause?: unknown): FormatError {
  return new FormatError(
    `readOnnx: expected an ONNX model for ${path === "" ? "bytes" : path} but ${why}`,
    { details: { reason, path }, ...(cause === undefined ? {} : { cause }) },
  );
}
