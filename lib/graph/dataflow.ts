/** Which nodes have to run to make a tensor, and which tensors depend on the inputs of the graph. */
import { bodiesOf } from "../formats/onnx/index.js";
import type { GraphProto, NodeProto } from "../formats/onnx/index.js";
import { GraphIndex } from "./graph-index.js";

/** Operators whose outputs differ from run to run, or may. */
const RANDOM = /^(Random|Bernoulli$|Multinomial$|Dropout$)/;

/**
 * The flow of tensors through the main graph. A tensor is constant when no input of the graph and
 * nothing random has a part in it: initializers, `Constant` nodes, and whatever is computed from those
 * alone. A name that nothing makes (a sparse initializer) counts as constant too.
 */
export class Dataflow {
  /** The nodes, each after those it reads from. Indices below are places in this list. */
  readonly nodes: readonly NodeProto[];
  readonly #producer = new Map<string, number>();
  readonly #uses: readonly (readonly string[])[];
  readonly #varying = new Set<string>();

  constructor(graph: GraphProto) {
    this.nodes = new GraphIndex(graph).nodesInOrder();
    const stored = new Set(graph.initializer.map((tensor) => tensor.name));
    for (const { name } of graph.input) if (!stored.has(name)) this.#varying.add(name);
    this.#uses = this.nodes.map(usedNames);
    this.nodes.forEach((node, index) => {
      const varies = isRandom(node) || this.uses(index).some((name) => this.#varying.has(name));
      for (const name of node.output) {
        if (name === "") continue;
        this.#producer.set(name, index);
        if (varies) this.#varying.add(name);
      }
    });
  }

  /** Names that node `index` reads, from its bodies too; no empty ones. */
  uses(index: number): readonly string[] {
    return this.#uses[index] ?? [];
  }

  /** Names that node `index` makes; no empty ones. */
  makes(index: number): readonly string[] {
    return (this.nodes[index]?.output ?? []).filter((name) => name !== "");
  }

  /** The node that makes a tensor; undefined for inputs of the graph and stored tensors. */
  producer(name: string): number | undefined {
    return this.#producer.get(name);
  }

  isConstant(name: string): boolean {
    return !this.#varying.has(name);
  }

  /**
   * The nodes that have to run to make `targets` when the tensors in `have` are there already, in order.
   */
  nodesFor(targets: Iterable<string>, have: { has(name: string): boolean }): number[] {
    const nodes = new Set<number>();
    const open = [...targets];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const index = have.has(name) ? undefined : this.producer(name);
      if (index === undefined || nodes.has(index)) continue;
      nodes.add(index);
      open.push(...this.uses(index));
    }
    return [...nodes].sort((a, b) => a - b);
  }
}

function isRandom(node: NodeProto): boolean {
  return RANDOM.test(node.opType) || bodiesOf(node).some((body) => body.node.some(isRandom));
}

/** Names a node reads: its inputs, and what its bodies (If, Loop, Scan) take from around them. */
function usedNames(node: NodeProto): string[] {
  const names = new Set(node.input);
  for (const body of bodiesOf(node)) for (const name of outerNames(body)) names.add(name);
  names.delete("");
  return [...names];
}

/** Names that a body reads but does not define. */
function outerNames(body: GraphProto): Set<string> {
  const inside = new Set([...body.input, ...body.initializer].map(({ name }) => name));
  const outer = new Set<string>();
  const read = (name: string): void => {
    if (name !== "" && !inside.has(name)) outer.add(name);
  };
  for (const node of body.node) {
    usedNames(node).forEach(read);
    for (const name of node.output) inside.add(name);
  }
  for (const { name } of body.output) read(name);
  return outer;
}
