/**
 * Cutting a graph into pieces that run one after the other. A piece ends where a group of layers begins:
 * it makes that group's input from the tensors that are still alive, and is planned when its turn comes,
 * so that it holds the weights as they are then.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { copyMessage, ONNX_DTYPES, type OnnxModel } from "../formats/onnx/index.js";
import type { ValueInfoProto } from "../formats/onnx/index.js";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  ValueInfoProtoSchema,
} from "../formats/onnx/onnx_pb.js";
import type { Dataflow } from "./dataflow.js";
import type { ElementType } from "./element-types.js";

export interface Segment {
  /** Places in `Dataflow.nodes` of what has to run; empty when the target is there already. */
  nodes: readonly number[];
  /** Live tensors that the nodes read. */
  inputs: readonly string[];
  /** What the nodes have to hand out: the target, and what later segments read. */
  outputs: readonly string[];
  /** What must be kept once the segment has run; everything else is dead. */
  live: ReadonlySet<string>;
}

/**
 * Plans the piece that makes `target` out of the tensors in `have`.
 *
 * Nodes run as late as possible, so a layer runs after it was quantized; only `Shape` and `Size` run as
 * soon as they can, because their small answer may be all that a large tensor is kept for.
 * `later`: the inputs of the groups to come. Nodes that none of them needs never run.
 */
export function planSegment(
  flow: Dataflow,
  target: string,
  options: { have: ReadonlySet<string>; later: readonly string[] },
): Segment {
  const { have, later } = options;
  const nodes = new Set(flow.nodesFor([target], have));
  const needed = flow.nodesFor([target, ...later], have);
  const made = new Set([...nodes].flatMap((index) => flow.makes(index)));
  if (nodes.size > 0) {
    for (const index of needed) {
      const ready = flow.uses(index).every((name) => have.has(name) || made.has(name));
      if (ready && /^(Shape|Size)$/.test(flow.nodes[index]?.opType ?? "")) {
        nodes.add(index);
        for (const name of flow.makes(index)) made.add(name);
      }
    }
  }
  // Constant tensors are made anew wherever they are read, and are never alive.
  const varies = (name: string): boolean => !flow.isConstant(name);
  const reads = (indices: Iterable<number>): string[] =>
    [...indices].flatMap((index) => flow.uses(index)).filter(varies);
  const rest = needed.filter((index) => !nodes.has(index));
  const live = new Set(
    [...reads(rest), ...later].filter((name) => varies(name) && (have.has(name) || made.has(name))),
  );
  return {
    nodes: [...nodes].sort((a, b) => a - b),
    inputs: [...new Set(reads(nodes))].filter((name) => have.has(name)),
    outputs: [...made].filter((name) => name === target || live.has(name)),
    live,
  };
}

/** What a segment has to know of a tensor that is fed to it and that the graph does not declare as input. */
export interface TensorType {
  type: ElementType;
  /** Undefined when it is not the same for all batches. */
  rank: number | undefined;
}

/**
 * The bytes of a model that holds the nodes of a segment, the stored tensors they read, and nothing
 * else. Operator sets, local functions and sparse initializers are those of the whole model; external
 * data stays external, relative to the folder of `model.path`.
 */
export function segmentModel(
  model: OnnxModel,
  flow: Dataflow,
  segment: Pick<Segment, "nodes" | "outputs">,
  inputs: ReadonlyMap<string, TensorType>,
): Uint8Array {
  const { graph } = model;
  const declared = new Map(graph.input.map((value) => [value.name, value]));
  const chosen = new Set(segment.nodes);
  const read = new Set([...segment.nodes.flatMap((index) => flow.uses(index)), ...segment.outputs]);
  const made = new Set(segment.nodes.flatMap((index) => flow.makes(index)));
  const initializer = graph.initializer.filter((tensor) => read.has(tensor.name));
  const valueInfo = graph.valueInfo.filter(({ name }) => made.has(name));
  const piece = create(GraphProtoSchema, {
    name: graph.name,
    node: flow.nodes.filter((_, index) => chosen.has(index)),
    initializer,
    valueInfo,
    input: Array.from(inputs, ([name, type]) => declared.get(name) ?? typedValue(name, type)),
    output: segment.outputs.map((name) => create(ValueInfoProtoSchema, { name })),
  });
  const sparse = graph.$unknown?.filter(({ no }) => no === SPARSE_INITIALIZER);
  if (sparse !== undefined) piece.$unknown = sparse;
  const proto = copyMessage(model.proto);
  // Before version 4 stored tensors had to be inputs of the graph as well.
  if (proto.irVersion < 4n) proto.irVersion = 4n;
  proto.graph = piece;
  return toBinary(ModelProtoSchema, proto);
}

/** The field of GraphProto that our schema leaves out. */
const SPARSE_INITIALIZER = 15;

/** Sizes stay open: batches may differ in them. */
function typedValue(name: string, { type, rank }: TensorType): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      tensorType: {
        elemType: ONNX_DTYPES[type].code,
        ...(rank === undefined ? {} : { shape: { dim: Array.from({ length: rank }, () => ({})) } }),
      },
    },
  });
}
