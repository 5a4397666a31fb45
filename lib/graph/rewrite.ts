/** Putting new weights into an ONNX model: dense ones, and quantized ones with the operators they need. */
import { expected, FormatError, ShapeError } from "../errors.js";
import { checkMatMulNBitsExportable } from "../formats/index.js";
import type { QuantizedLinear } from "../formats/index.js";
import { makeTensor, tensorDims } from "../formats/onnx/index.js";
import type { OnnxModel, TensorProto } from "../formats/onnx/index.js";
import { countReads, GraphIndex } from "./graph-index.js";
import { findLayerNode, isInputMajor, transposeMatrix } from "./layers.js";
import type { QuantizableLayer } from "./layers.js";
import { floatAttribute, withAttribute } from "./node-attributes.js";
import { rewriteConv } from "./rewrite-conv.js";
import { GraphEditor } from "./rewrite-editor.js";
import { rewriteMatMul } from "./rewrite-matmul.js";

/** Operator sets whose graphs are rewritten. */
export const MIN_OPSET = 9;
export const MAX_OPSET = 21;

/** What of the quantizer's options decides whether a layer can be exported. */
export interface ExportOptions {
  /** Default 128. */
  groupSize?: number;
  descAct?: boolean;
  staticGroups?: boolean;
}

/** Checks that the operator set of a model can be rewritten. @throws FormatError */
export function checkOpset(model: OnnxModel): void {
  const opset = model.opset();
  if (opset !== undefined && opset >= MIN_OPSET && opset <= MAX_OPSET) return;
  throw new FormatError(
    expected(
      "writeQuantizedWeight",
      `an operator set from ${MIN_OPSET} to ${MAX_OPSET}`,
      model.path === "" ? "model" : model.path,
      opset,
    ),
    { details: { reason: "opset", opset } },
  );
}

/**
 * The reason why the export format cannot hold a layer quantized this way, before any work; undefined
 * when it can.
 */
export function checkExportable(
  layer: QuantizableLayer,
  options: ExportOptions = {},
): string | undefined {
  if (layer.skipReason !== undefined) return layer.skipReason;
  const { groupSize = 128, descAct = false, staticGroups = false } = options;
  const oneGroup = groupSize === -1 || groupSize >= layer.columns;
  if (layer.op !== "Conv") {
    return checkMatMulNBitsExportable({ groupSize, inFeatures: layer.columns });
  }
  if (descAct && !staticGroups && !oneGroup && layer.groups > 1) {
    return (
      `each of its ${layer.groups} convolution groups would order its columns in another way; ` +
      "use staticGroups or one group per row"
    );
  }
  return undefined;
}

/**
 * Gives a layer another float32 weight.
 *
 * A weight that others read too stays as it is for them. Changes the lists of `model` in place; its
 * messages, which forks share, are replaced.
 *
 * @param w `[rows, columns]` as `readWeight` gives it (a Gemm's alpha becomes 1).
 */
export function writeDenseWeight(model: OnnxModel, layer: QuantizableLayer, w: Float32Array): void {
  if (w.length !== layer.rows * layer.columns) {
    throw new ShapeError(
      expected("writeDenseWeight", `${layer.rows * layer.columns} values`, layer.name, w.length),
    );
  }
  const editor = new GraphEditor(model);
  const index = new GraphIndex(model.graph);
  let node = findLayerNode(index, layer);
  if (node.opType === "Gemm" && floatAttribute(node, "alpha", 1) !== 1) {
    const copy = withAttribute(node, "alpha", { float: 1 });
    editor.replace(node, [copy]);
    node = copy;
  }
  const inputMajor = isInputMajor(node);
  const values = inputMajor
    ? transposeMatrix(w, { rows: layer.rows, columns: layer.columns })
    : w.slice();
  const name = node.input[1] ?? "";
  const { dims: oldDims } = constantOf(index, layer, name);
  const dims =
    layer.op === "Conv"
      ? oldDims
      : inputMajor
        ? [layer.columns, layer.rows]
        : [layer.rows, layer.columns];
  const tensor = makeTensor(name, { dtype: "float32", dims, values });
  if (countReads(model.graph, name) === 1 && replaceInPlace(editor, name, tensor)) return;
  const added = editor.addInitializer(`${layer.outputName}_weight`, {
    dtype: "float32",
    dims,
    values,
  });
  editor.setInput(node, 1, added);
  editor.removeUnread(name);
}

/**
 * Gives a layer a quantized weight: MatMul and Gemm become com.microsoft.MatMulNBits, a Conv reads its
 * weight through DequantizeLinear. Its dense weight goes when nobody else reads it; layers that share a
 * weight and are given the same codes share the new tensors too. Everything else stays as it is.
 *
 * @param parts one per group of the layer, in order; each `[rows / groups, columns]`.
 * @throws ShapeError for parts of another shape; FormatError for an operator set outside 9..21 and for
 *   a layout that the format cannot hold (see `checkExportable`).
 */
export function writeQuantizedWeight(
  model: OnnxModel,
  layer: QuantizableLayer,
  parts: readonly QuantizedLinear[],
): void {
  checkOpset(model);
  checkParts(layer, parts);
  const editor = new GraphEditor(model);
  const index = new GraphIndex(model.graph);
  const node = findLayerNode(index, layer);
  const weightName = node.input[1] ?? "";
  const { dims } = constantOf(index, layer, weightName);
  const [first] = parts;
  if (layer.op === "Conv") {
    rewriteConv(editor, { node, layer, parts, weightDims: dims });
  } else if (first !== undefined) {
    rewriteMatMul(editor, { node, layer, part: first });
  }
  editor.removeUnread(weightName);
  editor.importMicrosoft();
}

function checkParts(layer: QuantizableLayer, parts: readonly QuantizedLinear[]): void {
  const fn = "writeQuantizedWeight";
  if (parts.length !== layer.groups) {
    throw new ShapeError(expected(fn, `${layer.groups} parts`, layer.name, parts.length));
  }
  const rows = layer.rows / layer.groups;
  const [first] = parts;
  for (const part of parts) {
    if (part.outFeatures !== rows || part.inFeatures !== layer.columns) {
      const received = `[${part.outFeatures}, ${part.inFeatures}]`;
      throw new ShapeError(
        expected(fn, `parts of [${rows}, ${layer.columns}]`, layer.name, received),
      );
    }
    const alike =
      part.groupSize === first?.groupSize &&
      part.bits === first.bits &&
      part.groupIndex.every((group, column) => group === first.groupIndex[column]);
    if (!alike) {
      throw new FormatError(
        `${fn}: expected the same bits and the same groups of columns for all convolution groups of ` +
          layer.name,
        { details: { reason: "groups" } },
      );
    }
  }
}

function constantOf(
  index: GraphIndex,
  layer: QuantizableLayer,
  name: string,
): { tensor: TensorProto; dims: number[] } {
  const constant = index.constant(name);
  if (typeof constant === "string") {
    throw new FormatError(
      `writeWeight: expected a constant weight for ${layer.name} but ${constant}`,
    );
  }
  return { tensor: constant.tensor, dims: tensorDims(constant.tensor) };
}

/** Replaces an initializer or the value of a Constant node. False when `name` is neither. */
function replaceInPlace(editor: GraphEditor, name: string, tensor: TensorProto): boolean {
  const { graph } = editor;
  const at = graph.initializer.findIndex((initializer) => initializer.name === name);
  if (at !== -1) {
    graph.initializer[at] = tensor;
    return true;
  }
  const producer = graph.node.find((node) => node.output.includes(name));
  if (producer?.opType !== "Constant") return false;
  editor.replace(producer, [withAttribute(producer, "value", { tensor })]);
  return true;
}
