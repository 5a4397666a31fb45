/** Who makes and who uses each tensor of an ONNX graph. Read-only: make a new one after an edit. */
import { FormatError } from "../errors.js";
import { bodiesOf } from "../formats/onnx/index.js";
import type { GraphProto, NodeProto, TensorProto } from "../formats/onnx/index.js";
import { intsAttribute, tensorAttribute } from "./node-attributes.js";

/** A tensor whose value is in the model. */
export interface ConstantTensor {
  /** The initializer or the value of the Constant node. */
  tensor: TensorProto;
  /** Its name in the graph. */
  name: string;
  /** True when an odd number of 2-D Transpose nodes stand between the tensor and its user. */
  transposed: boolean;
}

/** Longest chain of Identity and Transpose nodes that is followed; also stops at cycles. */
const MAX_CHAIN = 16;

export class GraphIndex {
  readonly graph: GraphProto;
  readonly initializers: ReadonlyMap<string, TensorProto>;
  readonly #producers = new Map<string, NodeProto>();
  readonly #computed = new Map<string, boolean>();

  constructor(graph: GraphProto) {
    this.graph = graph;
    this.initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
    for (const node of graph.node) {
      for (const name of node.output) if (name !== "") this.#producers.set(name, node);
    }
  }

  producer(name: string): NodeProto | undefined {
    return this.#producers.get(name);
  }

  /**
   * The constant behind a name, through Identity nodes and 2-D Transpose nodes. A string says why there
   * is none.
   */
  constant(name: string): ConstantTensor | string {
    if (!this.isComputedFromConstants(name)) {
      return this.producer(name) === undefined
        ? "it is an input of the graph"
        : "it is not constant";
    }
    let transposed = false;
    let current = name;
    for (let step = 0; step < MAX_CHAIN; step++) {
      const initializer = this.initializers.get(current);
      if (initializer !== undefined) return { tensor: initializer, name: current, transposed };
      const node = this.producer(current);
      if (node === undefined) break;
      if (node.opType === "Constant") {
        const tensor = tensorAttribute(node, "value");
        return tensor === undefined
          ? "its Constant node holds no dense tensor"
          : { tensor, name: current, transposed };
      }
      if (node.opType === "Transpose") {
        const perm = intsAttribute(node, "perm") ?? [1, 0];
        if (perm.join() !== "1,0") return "it passes through a Transpose of more than 2 dimensions";
        transposed = !transposed;
      } else if (node.opType !== "Identity") {
        return `it is computed by ${node.opType} from constants`;
      }
      current = node.input[0] ?? "";
    }
    return "it stands behind too many Identity nodes";
  }

  /** True when every tensor that `name` depends on is constant (and the chain is not absurdly long). */
  isComputedFromConstants(name: string, depth = 0): boolean {
    const known = this.#computed.get(name);
    if (known !== undefined) return known;
    this.#computed.set(name, false); // the answer for a name that depends on itself
    const node = this.producer(name);
    let result = this.initializers.has(name) || node?.opType === "Constant";
    if (!result && node !== undefined && depth < 100) {
      result =
        node.input.length > 0 &&
        bodiesOf(node).length === 0 &&
        node.input.every((input) => input === "" || this.isComputedFromConstants(input, depth + 1));
    }
    this.#computed.set(name, result);
    return result;
  }

  /** The declared shape: undefined entries are dynamic; undefined when nothing is declared. */
  shape(name: string): (number | undefined)[] | undefined {
    for (const list of [this.graph.valueInfo, this.graph.input, this.graph.output]) {
      const found = list.find((info) => info.name === name)?.type?.tensorType?.shape;
      if (found !== undefined) {
        return found.dim.map(({ value }) =>
          value.case === "dimValue" ? Number(value.value) : undefined,
        );
      }
    }
    return undefined;
  }

  /** Nodes with every node after the nodes that it reads from; the order of the file otherwise. */
  nodesInOrder(): NodeProto[] {
    const { node: nodes } = this.graph;
    const waiting = new Map<NodeProto, number>();
    const users = new Map<NodeProto, NodeProto[]>();
    for (const node of nodes) {
      const sources = new Set<NodeProto>();
      for (const name of readsOf(node)) {
        const source = this.producer(name);
        if (source !== undefined) sources.add(source);
      }
      waiting.set(node, sources.size);
      for (const source of sources) {
        const list = users.get(source);
        if (list === undefined) users.set(source, [node]);
        else list.push(node);
      }
    }
    if (isInOrder(nodes, this.#producers)) return [...nodes];
    const ready = nodes.filter((node) => waiting.get(node) === 0);
    // Grows while it is walked.
    for (const node of ready) {
      for (const user of users.get(node) ?? []) {
        const left = (waiting.get(user) ?? 0) - 1;
        waiting.set(user, left);
        if (left === 0) ready.push(user);
      }
    }
    if (ready.length !== nodes.length) {
      throw new FormatError(
        "findLayers: expected a graph without cycles for model but it has one",
        {
          details: { reason: "cycle" },
        },
      );
    }
    return ready;
  }
}

function isInOrder(
  nodes: readonly NodeProto[],
  producers: ReadonlyMap<string, NodeProto>,
): boolean {
  const done = new Set<NodeProto>();
  for (const node of nodes) {
    for (const name of readsOf(node)) {
      const source = producers.get(name);
      if (source !== undefined && !done.has(source)) return false;
    }
    done.add(node);
  }
  return true;
}

/** Every name a node reads, those that its bodies take from outside included (and their own, harmlessly). */
export function* readsOf(node: NodeProto): Generator<string> {
  for (const name of node.input) if (name !== "") yield name;
  for (const body of bodiesOf(node)) {
    for (const inner of body.node) yield* readsOf(inner);
    for (const { name } of body.output) yield name;
  }
}

/** How often a name is read in the graph, counting graph outputs. */
export function countReads(graph: GraphProto, name: string): number {
  let count = graph.output.filter((output) => output.name === name).length;
  for (const node of graph.node) for (const read of readsOf(node)) if (read === name) count++;
  return count;
}
