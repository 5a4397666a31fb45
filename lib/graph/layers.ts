/** The layers of an ONNX model that can be quantized, and their weights. */
import { ArgumentError, expected } from "../errors.js";
import { bodiesOf, canonicalDomain, dtypeOfCode, tensorDims } from "../formats/onnx/index.js";
import type { NodeProto, OnnxModel } from "../formats/onnx/index.js";
import { convGeometry } from "./conv-geometry.js";
import type { ConvGeometry } from "./conv-geometry.js";
import { GraphIndex } from "./graph-index.js";
import type { ConstantTensor } from "./graph-index.js";
import { floatAttribute, intAttribute } from "./node-attributes.js";

export type LayerOp = "MatMul" | "Gemm" | "Conv";

export interface QuantizableLayer {
  /** The name of the node; made from operator and output where that is empty or taken. */
  name: string;
  op: LayerOp;
  /** The activation that feeds it. */
  inputName: string;
  outputName: string;
  weightName: string;
  /** Output features; M of a Conv. 0 when the weight is unknown. */
  rows: number;
  /** Input features of one group: `in`, or `C/groups * kh * kw` (order channel, kh, kw). */
  columns: number;
  /** 1, or the groups of a Conv: `rows` in that many contiguous parts, each with its own Gram matrix. */
  groups: number;
  conv?: ConvGeometry;
  /** Elements of the weight. */
  parameters: number;
  /** Floating-point operations per row of activations; of a Conv, per output position. */
  flopsPerToken: number;
  /** Other layers that use the same weight in the same way. */
  sharedWith?: string[];
  /** Why it cannot be quantized. */
  skipReason?: string;
}

/**
 * Every MatMul, Gemm and Conv node in topological order; those that cannot be quantized have a
 * `skipReason`.
 *
 * @throws FormatError for a graph with cycles.
 */
export function findLayers(model: OnnxModel): QuantizableLayer[] {
  const index = new GraphIndex(model.graph);
  const layers: QuantizableLayer[] = [];
  const names = new LayerNames(layerNodes(model.graph.node));
  for (const node of index.nodesInOrder()) {
    for (const body of bodiesOf(node)) {
      for (const inner of layerNodes(body.node)) {
        const skipped = {
          ...blank(inner),
          skipReason: `it is inside the body of a ${node.opType}`,
        };
        layers.push({ ...skipped, name: names.take(inner) });
      }
    }
    if (isLayerNode(node)) layers.push({ ...describeNode(index, node), name: names.take(node) });
  }
  markShared(index, layers);
  return layers;
}

/**
 * The weight of a layer as the quantizers see it: `[rows, columns]`, row-major, a copy. For Gemm it
 * includes alpha.
 *
 * @throws ArgumentError when the layer has no such weight in this model.
 */
export function readWeight(model: OnnxModel, layer: QuantizableLayer): Float32Array {
  const index = new GraphIndex(model.graph);
  const node = findLayerNode(index, layer);
  const weight = index.constant(node.input[1] ?? "");
  if (typeof weight === "string") {
    throw new ArgumentError(expected("readWeight", "a constant weight", layer.name, weight));
  }
  const { data } = model.tensorData(weight.tensor);
  const values = data as Float32Array;
  if (values.length !== layer.rows * layer.columns || !(data instanceof Float32Array)) {
    throw new ArgumentError(
      expected("readWeight", `${layer.rows * layer.columns} float32 values`, layer.name, data),
    );
  }
  const rowMajor = weight.transposed !== isInputMajor(node);
  const result = rowMajor
    ? transposeMatrix(values, { rows: layer.columns, columns: layer.rows })
    : values;
  const alpha = node.opType === "Gemm" ? floatAttribute(node, "alpha", 1) : 1;
  return alpha === 1 ? result : result.map((value) => value * alpha);
}

/** The node of a layer: the one that makes its output. @throws ArgumentError when it is gone. */
export function findLayerNode(index: GraphIndex, layer: QuantizableLayer): NodeProto {
  const node = index.producer(layer.outputName);
  if (node?.opType !== layer.op) {
    throw new ArgumentError(
      expected("findLayerNode", `a ${layer.op} node`, layer.name, node?.opType ?? "no node"),
    );
  }
  return node;
}

/** True when the weight input is `[in, out]`: MatMul, and Gemm without transB. */
export function isInputMajor(node: NodeProto): boolean {
  return (
    node.opType === "MatMul" || (node.opType === "Gemm" && intAttribute(node, "transB", 0) === 0)
  );
}

/** `[rows, columns]` to `[columns, rows]`. */
export function transposeMatrix(
  values: Float32Array,
  { rows, columns }: { rows: number; columns: number },
): Float32Array {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column] ?? 0;
    }
  }
  return result;
}

function isLayerNode(node: NodeProto): boolean {
  return ["MatMul", "Gemm", "Conv"].includes(node.opType) && canonicalDomain(node.domain) === "";
}

function* layerNodes(nodes: readonly NodeProto[]): Generator<NodeProto> {
  for (const node of nodes) {
    for (const body of bodiesOf(node)) yield* layerNodes(body.node);
    if (isLayerNode(node)) yield node;
  }
}

function blank(node: NodeProto): Omit<QuantizableLayer, "name"> {
  const [inputName = "", weightName = ""] = node.input;
  return {
    op: node.opType as LayerOp,
    inputName,
    weightName,
    outputName: node.output[0] ?? "",
    rows: 0,
    columns: 0,
    groups: 1,
    parameters: 0,
    flopsPerToken: 0,
  };
}

function describeNode(index: GraphIndex, node: NodeProto): Omit<QuantizableLayer, "name"> {
  const layer = blank(node);
  const skip = (skipReason: string): typeof layer => ({ ...layer, skipReason });
  const weight = index.constant(layer.weightName);
  const first = index.constant(layer.inputName);
  if (typeof weight === "string") {
    if (typeof first === "string" || node.opType === "Conv") return skip(`its weight: ${weight}`);
    return {
      ...skip("its constant is the first input, not the second"),
      inputName: layer.weightName,
      weightName: layer.inputName,
    };
  }
  if (typeof first !== "string") return skip("both its inputs are constant");
  const dims = tensorDims(weight.tensor);
  if (weight.transposed) dims.reverse();
  layer.parameters = dims.reduce((product, dim) => product * dim, 1);
  const dtype = dtypeOfCode(weight.tensor.dataType);
  if (dtype !== "float32")
    return skip(`its weight is ${dtype ?? "of an unknown type"}, not float32`);
  if (layer.parameters === 0) return skip("its weight is empty");
  if (node.opType === "Conv") return describeConv(index, { node, layer, weight, dims });
  const [first0 = 0, second0 = 0] = dims;
  if (dims.length !== 2) return skip(`its weight has ${dims.length} dimensions, not 2`);
  [layer.rows, layer.columns] = isInputMajor(node) ? [second0, first0] : [first0, second0];
  layer.flopsPerToken = 2 * layer.parameters;
  if (index.shape(layer.inputName)?.length === 1) return skip("its input is a vector");
  if (node.opType === "Gemm") {
    if (intAttribute(node, "transA", 0) !== 0) return skip("it transposes its input (transA)");
    if (floatAttribute(node, "alpha", 1) === 0) return skip("its alpha is 0");
  }
  return layer;
}

function describeConv(
  index: GraphIndex,
  found: {
    node: NodeProto;
    layer: Omit<QuantizableLayer, "name">;
    weight: ConstantTensor;
    dims: readonly number[];
  },
): Omit<QuantizableLayer, "name"> {
  const { node, layer, weight, dims } = found;
  if (weight.transposed) return { ...layer, skipReason: "its weight passes through a Transpose" };
  const geometry = convGeometry(node, dims, index.shape(layer.inputName));
  if (typeof geometry === "string") return { ...layer, skipReason: geometry };
  const rows = dims[0] ?? 0;
  return {
    ...layer,
    rows,
    columns: layer.parameters / rows,
    groups: geometry.groups,
    conv: geometry,
    flopsPerToken: 2 * layer.parameters,
  };
}

/** Gives every layer a name of its own: the node's where it has one that is not taken. */
class LayerNames {
  readonly #given: ReadonlySet<string>;
  readonly #taken = new Set<string>();

  constructor(nodes: Iterable<NodeProto>) {
    this.#given = new Set(Array.from(nodes, ({ name }) => name));
  }

  take(node: NodeProto): string {
    let { name } = node;
    if (name === "" || this.#taken.has(name)) {
      const base = `${node.opType}_${node.output[0] ?? ""}`;
      name = base;
      for (let n = 2; this.#taken.has(name) || this.#given.has(name); n++) name = `${base}_${n}`;
    }
    this.#taken.add(name);
    return name;
  }
}

function markShared(index: GraphIndex, layers: QuantizableLayer[]): void {
  const users = new Map<string, QuantizableLayer[]>();
  for (const layer of layers) {
    if (layer.skipReason !== undefined) continue;
    const weight = index.constant(layer.weightName);
    if (typeof weight === "string") continue;
    const key = JSON.stringify([weight.name, layer.rows, layer.columns, layer.groups, layer.op]);
    users.set(key, [...(users.get(key) ?? []), layer]);
  }
  for (const group of users.values()) {
    if (group.length < 2) continue;
    for (const layer of group) {
      layer.sharedWith = group.filter((other) => other !== layer).map(({ name }) => name);
    }
  }
}
