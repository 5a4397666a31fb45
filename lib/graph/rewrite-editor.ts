/** Small edits of an ONNX graph that keep names unique and leave no dead constants behind. */
import { create } from "@bufbuild/protobuf";
import {
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  ValueInfoProtoSchema,
} from "../formats/onnx/onnx_pb.js";
import type { GraphProto, NodeProto, TensorProto } from "../formats/onnx/onnx_pb.js";
import { bodiesOf, copyMessage, makeTensor } from "../formats/onnx/index.js";
import type { OnnxDType, OnnxModel } from "../formats/onnx/index.js";
import { countReads } from "./graph-index.js";
import { makeAttribute } from "./node-attributes.js";
import type { AttributeValue } from "./node-attributes.js";

export const MICROSOFT = "com.microsoft";
/** Nodes that only pass a constant on: they go when nobody reads the constant any more. */
const PASS_ON = ["Constant", "Identity", "Transpose"];

export interface NewNode {
  opType: string;
  /** Made unique. */
  name: string;
  input: string[];
  output: string[];
  domain?: string;
  attributes?: Readonly<Record<string, AttributeValue>>;
}

/** Edits the lists of one model in place; messages that were there are replaced, never changed. */
export class GraphEditor {
  readonly model: OnnxModel;
  readonly graph: GraphProto;
  readonly #values = new Set<string>();
  readonly #nodes = new Set<string>();

  constructor(model: OnnxModel) {
    this.model = model;
    this.graph = model.graph;
    this.#collectNames(this.graph);
  }

  /** A tensor name that is used nowhere, bodies of nodes included; reserved from now on. */
  valueName(base: string): string {
    return reserve(this.#values, base);
  }

  /** Adds an initializer under `name`, or gives the name of one that is there with the same content. */
  addInitializer(
    name: string,
    options: { dtype: OnnxDType; dims: readonly number[]; values: ArrayBufferView },
  ): string {
    const present = this.graph.initializer.find((tensor) => tensor.name === name);
    const tensor = makeTensor(name, options);
    if (present !== undefined && sameTensor(present, tensor)) return name;
    tensor.name = this.valueName(name);
    this.graph.initializer.push(tensor);
    // Before IR version 4 every initializer is also an input of the graph.
    if (this.model.proto.irVersion < 4n) {
      const dim = options.dims.map((size) => ({
        value: { case: "dimValue" as const, value: BigInt(size) },
      }));
      const tensorType = { elemType: tensor.dataType, shape: { dim } };
      this.graph.input.push(
        create(ValueInfoProtoSchema, { name: tensor.name, type: { tensorType } }),
      );
    }
    return tensor.name;
  }

  makeNode(node: NewNode): NodeProto {
    const { opType, input, output, domain, attributes = {} } = node;
    return create(NodeProtoSchema, {
      opType,
      input,
      output,
      name: reserve(this.#nodes, node.name),
      attribute: Object.entries(attributes).map(([name, value]) => makeAttribute(name, value)),
      ...(domain === undefined ? {} : { domain }),
    });
  }

  /** Puts nodes where `node` was. */
  replace(node: NodeProto, nodes: readonly NodeProto[]): void {
    this.graph.node.splice(this.graph.node.indexOf(node), 1, ...nodes);
  }

  /** The same node reading another tensor; returns the copy that took its place. */
  setInput(node: NodeProto, at: number, name: string): NodeProto {
    const copy = copyMessage(node);
    copy.input = node.input.with(at, name);
    this.replace(node, [copy]);
    return copy;
  }

  /** Removes a constant, and what only passed it on, when nobody reads it any more. */
  removeUnread(name: string): void {
    if (name === "" || countReads(this.graph, name) > 0) return;
    const { graph } = this;
    const initializer = graph.initializer.findIndex((tensor) => tensor.name === name);
    const producer = graph.node.find((node) => node.output.includes(name));
    if (initializer !== -1) {
      graph.initializer.splice(initializer, 1);
      drop(graph.input, name);
    } else if (producer !== undefined && PASS_ON.includes(producer.opType)) {
      this.replace(producer, []);
    } else {
      return;
    }
    drop(graph.valueInfo, name);
    for (const input of producer?.input ?? []) this.removeUnread(input);
  }

  /** Imports com.microsoft version 1, unless some version is imported already. */
  importMicrosoft(): void {
    if (this.model.opset(MICROSOFT) !== undefined) return;
    this.model.proto.opsetImport.push(
      create(OperatorSetIdProtoSchema, { domain: MICROSOFT, version: 1n }),
    );
  }

  #collectNames(graph: GraphProto): void {
    for (const { name } of graph.initializer) this.#values.add(name);
    for (const list of [graph.input, graph.output, graph.valueInfo]) {
      for (const { name } of list) this.#values.add(name);
    }
    for (const node of graph.node) {
      this.#nodes.add(node.name);
      for (const name of node.input) this.#values.add(name);
      for (const name of node.output) this.#values.add(name);
      for (const body of bodiesOf(node)) this.#collectNames(body);
    }
  }
}

function reserve(taken: Set<string>, base: string): string {
  let name = base;
  for (let n = 2; taken.has(name); n++) name = `${base}_${n}`;
  taken.add(name);
  return name;
}

function drop(list: { name: string }[], name: string): void {
  const at = list.findIndex((entry) => entry.name === name);
  if (at !== -1) list.splice(at, 1);
}

function sameTensor(a: TensorProto, b: TensorProto): boolean {
  return (
    a.dataType === b.dataType &&
    a.dims.join() === b.dims.join() &&
    a.rawData.length === b.rawData.length &&
    Buffer.compare(a.rawData, b.rawData) === 0
  );
}
