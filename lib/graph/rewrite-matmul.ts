/**
 * MatMul and Gemm with a quantized weight: com.microsoft.MatMulNBits.
 *
 * accuracy_level is 1 (float32): levels 2 to 4 let the runtime round the activations. Codes of 2 and 3 bits
 * are stored as 4-bit codes with the same zero and scale, because most releases run only 4 and 8 bits.
 */
import {
  checkMatMulNBitsExportable,
  columnsByGroup,
  hasContiguousGroups,
  matMulNBitsBlockSize,
  packMatMulNBits,
} from "../formats/index.js";
import type { QuantizedLinear } from "../formats/index.js";
import { FormatError } from "../errors.js";
import type { NodeProto } from "../formats/onnx/index.js";
import type { QuantizableLayer } from "./layers.js";
import { floatAttribute } from "./node-attributes.js";
import { MICROSOFT } from "./rewrite-editor.js";
import type { GraphEditor } from "./rewrite-editor.js";

/** Replaces the node of a MatMul or Gemm layer. Gemm becomes MatMulNBits and an Add for its bias. */
export function rewriteMatMul(
  editor: GraphEditor,
  target: { node: NodeProto; layer: QuantizableLayer; part: QuantizedLinear },
): void {
  const { node, layer } = target;
  const part: QuantizedLinear = target.part.bits < 4 ? { ...target.part, bits: 4 } : target.part;
  const blockSize = matMulNBitsBlockSize(part);
  if (blockSize === undefined) {
    throw new FormatError(
      `writeQuantizedWeight: ${layer.name}: ${checkMatMulNBitsExportable(part) ?? "no block size fits"}`,
    );
  }
  const contiguous = hasContiguousGroups(part);
  const order = contiguous ? undefined : columnsByGroup(part);
  const packed = packMatMulNBits(part, blockSize, order === undefined ? {} : { order });
  const { bits, blocks } = packed;
  const rows = part.outFeatures;
  const base = layer.weightName;
  const inputs = [
    layer.inputName,
    editor.addInitializer(`${base}_Q${bits}`, {
      dtype: "uint8",
      dims: [rows, blocks, (blockSize * bits) / 8],
      values: packed.B,
    }),
    // One dimension: every release reads it.
    editor.addInitializer(`${base}_scales`, {
      dtype: "float32",
      dims: [rows * blocks],
      values: packed.scales,
    }),
  ];
  const middle = 2 ** (bits - 1);
  if (part.zeros.some((zero) => zero !== middle)) {
    inputs.push(
      editor.addInitializer(`${base}_zero_points`, {
        dtype: "uint8",
        dims: [packed.zeroPoints.length],
        values: packed.zeroPoints,
      }),
    );
  }
  const nodes: NodeProto[] = [];
  if (order !== undefined) {
    const gathered = editor.valueName(`${layer.outputName}_columns`);
    const indices = editor.addInitializer(`${base}_order`, {
      dtype: "int64",
      dims: [order.length],
      values: BigInt64Array.from(order, BigInt),
    });
    const { inputName } = layer;
    nodes.push(
      editor.makeNode({
        opType: "Gather",
        name: `${layer.name}_columns`,
        input: [inputName, indices],
        output: [gathered],
        attributes: { axis: -1 },
      }),
    );
    inputs[0] = gathered;
  }
  const bias = gemmBias(editor, node, layer);
  const product =
    bias === undefined ? layer.outputName : editor.valueName(`${layer.outputName}_product`);
  nodes.push(
    editor.makeNode({
      opType: "MatMulNBits",
      domain: MICROSOFT,
      name: `${layer.name}_Q${bits}`,
      input: inputs,
      output: [product],
      attributes: {
        K: part.inFeatures,
        N: rows,
        bits,
        block_size: blockSize,
        accuracy_level: 1,
      },
    }),
  );
  if (bias !== undefined) {
    nodes.push(
      ...bias.nodes,
      editor.makeNode({
        opType: "Add",
        name: `${layer.name}_bias`,
        input: [product, bias.name],
        output: [layer.outputName],
      }),
    );
  }
  editor.replace(node, nodes);
}

/** The tensor `beta * C` of a Gemm and the nodes that make it; undefined when there is nothing to add. */
function gemmBias(
  editor: GraphEditor,
  node: NodeProto,
  layer: QuantizableLayer,
): { name: string; nodes: NodeProto[] } | undefined {
  const name = node.opType === "Gemm" ? (node.input[2] ?? "") : "";
  const beta = floatAttribute(node, "beta", 1);
  if (name === "" || beta === 0) return undefined;
  if (beta === 1) return { name, nodes: [] };
  const factor = editor.addInitializer(`${layer.outputName}_beta`, {
    dtype: "float32",
    dims: [],
    values: Float32Array.of(beta),
  });
  const scaled = editor.valueName(`${layer.outputName}_scaled_bias`);
  const mul = editor.makeNode({
    opType: "Mul",
    name: `${layer.name}_beta`,
    input: [name, factor],
    output: [scaled],
  });
  return { name: scaled, nodes: [mul] };
}
