/** Decides which tensors of a model go to the data file, and builds that file. */
import { create } from "@bufbuild/protobuf";
import { externalPlace, isExternal, readExternal } from "./external.js";
import type { OnnxModel } from "./model.js";
import { StringStringEntryProtoSchema } from "./onnx_pb.js";
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto } from "./onnx_pb.js";
import { copyMessage, sourceRecord } from "./source-bytes.js";

export interface ExternalOptions {
  /** The name (not a path) of the data file, in the folder of the model. Default: no data file. */
  externalDataName?: string | undefined;
  /** Smaller tensors stay inside the model. Default 65536. */
  externalThresholdBytes?: number | undefined;
}

/** Page-aligned, so that runtimes can map the file. */
const ALIGNMENT = 4096;
const DEFAULT_THRESHOLD = 65536;
/** Room for everything that is not a tensor in a file that must stay below 2 GiB. */
const INLINE_LIMIT = 2 ** 31 - 2 ** 28;

/** A model whose external tensors are where `options` want them, and the bytes of the data file. */
export function placeTensors(
  model: OnnxModel,
  options: ExternalOptions,
): { proto: ModelProto; data: Uint8Array | undefined } {
  const { externalDataName, externalThresholdBytes = DEFAULT_THRESHOLD } = options;
  const { proto } = model.fork();
  const { graph } = proto;
  if (graph === undefined) return { proto, data: undefined };
  const inlineBytes = graph.initializer.reduce((sum, { rawData }) => sum + rawData.length, 0);
  const moveAll = inlineBytes > INLINE_LIMIT;
  const file = new DataFile();
  graph.initializer = graph.initializer.map((tensor) => {
    const wasExternal = isExternal(tensor);
    const candidate = wasExternal || moveAll || sourceRecord(tensor) === undefined;
    if (externalDataName === undefined || !candidate) return inlined(model, tensor);
    const place = wasExternal ? externalPlace(model.path, tensor) : undefined;
    const length = place?.length ?? tensor.rawData.length;
    if (length < externalThresholdBytes || length === 0) return inlined(model, tensor);
    const offset =
      place === undefined
        ? file.add(tensor.rawData)
        : file.addOnce(`${place.file}\0${place.offset}\0${length}`, () => readExternal(place));
    return pointingTo(tensor, { location: externalDataName, offset, length });
  });
  graph.node = graph.node.map((node) => inlineNode(model, node));
  return { proto, data: file.finish() };
}

/** Collects aligned pieces. */
class DataFile {
  readonly #pieces: { offset: number; bytes: Uint8Array }[] = [];
  readonly #offsets = new Map<string, number>();
  #size = 0;

  add(bytes: Uint8Array): number {
    const offset = Math.ceil(this.#size / ALIGNMENT) * ALIGNMENT;
    this.#pieces.push({ offset, bytes });
    this.#size = offset + bytes.length;
    return offset;
  }

  /** Tensors that share a place in the source share one here. */
  addOnce(key: string, read: () => Uint8Array): number {
    let offset = this.#offsets.get(key);
    if (offset === undefined) {
      offset = this.add(read());
      this.#offsets.set(key, offset);
    }
    return offset;
  }

  finish(): Uint8Array | undefined {
    if (this.#pieces.length === 0) return undefined;
    const data = new Uint8Array(this.#size);
    for (const { offset, bytes } of this.#pieces) data.set(bytes, offset);
    return data;
  }
}

function pointingTo(
  tensor: TensorProto,
  place: { location: string; offset: number; length: number },
): TensorProto {
  const copy = copyMessage(tensor);
  delete (copy as Partial<TensorProto>).rawData;
  const others = tensor.externalData.filter(
    ({ key }) => key !== "location" && key !== "offset" && key !== "length",
  );
  const entries = Object.entries(place).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value: String(value) }),
  );
  copy.externalData = [...entries, ...others];
  copy.dataLocation = 1;
  return copy;
}

/** The same tensor with its bytes inside; the tensor itself when they are there already. */
function inlined(model: OnnxModel, tensor: TensorProto): TensorProto {
  if (!isExternal(tensor)) return tensor;
  const copy = copyMessage(tensor);
  copy.rawData = readExternal(externalPlace(model.path, tensor));
  copy.externalData = [];
  delete (copy as Partial<TensorProto>).dataLocation;
  return copy;
}

/** Tensors in attributes and bodies are always inside: runtimes read external data of initializers only. */
function inlineNode(model: OnnxModel, node: NodeProto): NodeProto {
  const attribute = mapSame(node.attribute, (entry) => inlineAttribute(model, entry));
  return attribute === node.attribute ? node : Object.assign(copyMessage(node), { attribute });
}

function inlineAttribute(model: OnnxModel, attribute: AttributeProto): AttributeProto {
  const { t, g } = attribute;
  const tensors = mapSame(attribute.tensors, (tensor) => inlined(model, tensor));
  const graphs = mapSame(attribute.graphs, (graph) => inlineGraph(model, graph));
  const newT = t === undefined ? t : inlined(model, t);
  const newG = g === undefined ? g : inlineGraph(model, g);
  const same = t === newT && g === newG;
  if (same && tensors === attribute.tensors && graphs === attribute.graphs) return attribute;
  const copy = Object.assign(copyMessage(attribute), { tensors, graphs });
  if (newT !== undefined) copy.t = newT;
  if (newG !== undefined) copy.g = newG;
  return copy;
}

function inlineGraph(model: OnnxModel, graph: GraphProto): GraphProto {
  const node = mapSame(graph.node, (entry) => inlineNode(model, entry));
  const initializer = mapSame(graph.initializer, (tensor) => inlined(model, tensor));
  if (node === graph.node && initializer === graph.initializer) return graph;
  return Object.assign(copyMessage(graph), { node, initializer });
}

/** `items.map(change)`, but the same array when nothing changed. */
function mapSame<T>(items: T[], change: (item: T) => T): T[] {
  const changed = items.map(change);
  return changed.every((item, index) => item === items[index]) ? items : changed;
}
