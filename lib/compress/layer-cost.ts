/** What a layer costs, known before any work: bytes as stored, operations, memory. */
import { matMulNBitsBlockSize } from "../formats/index.js";
import type { QuantizableLayer } from "../graph/layers.js";
import { GRAM_FLOAT64_COLUMNS } from "../ops/input-gram.js";
import type { LayerOptions } from "./recipe.js";

/** Bytes of the dense float32 weight. */
export function denseBytes(layer: QuantizableLayer): number {
  return 4 * layer.parameters;
}

/** Bytes of codes, scales and zero points as the ONNX file holds them. 2 and 3 bits take 4. */
export function storedBytes(
  layer: QuantizableLayer,
  options: LayerOptions,
  { opset }: { readonly opset: number | undefined },
): number {
  const bits = options.bits === 8 ? 8 : 4;
  const { rows, columns } = layer;
  const bytes = (count: number): number => Math.ceil((count * bits) / 8);
  const oneGroup = options.groupSize === -1 || options.groupSize >= columns;
  const reordered = options.descAct && !options.staticGroups && !oneGroup ? 8 * columns : 0;
  if (layer.op !== "Conv") {
    const { groupSize } = options;
    const block = matMulNBitsBlockSize({ groupSize, inFeatures: columns }) ?? columns;
    const blocks = Math.ceil(columns / block);
    const zeros = options.sym ? 0 : rows * bytes(blocks);
    return rows * blocks * (bytes(block) + 4) + zeros + reordered;
  }
  const groups = oneGroup ? 1 : Math.ceil(columns / options.groupSize);
  const padded = (opset ?? 0) >= 21 || oneGroup ? columns : groups * options.groupSize;
  const zeros = options.sym ? 0 : bytes(rows * groups);
  return bytes(rows * padded) + 4 * rows * groups + zeros + reordered;
}

/** Operations of quantizing a layer once its Gram matrix is there. */
export function quantizeFlops(layer: QuantizableLayer, options: LayerOptions): number {
  const { rows, columns, groups } = layer;
  if (options.method === "rtn") return 8 * layer.parameters * (options.mse ? 80 : 1);
  // Cholesky of the Gram matrix (once more for the sketch that verify reads), column recursion with
  // error feedback, errors of the report.
  const perGroup = (2 * columns ** 3) / 3 + (rows / groups) * columns ** 2;
  const reported = Math.min(rows, 256) * columns ** 2 * 2;
  return groups * perGroup + reported + 8 * layer.parameters * (options.mse ? 80 : 1);
}

/** Operations of folding `tokens` rows of activations into the Gram matrices of a layer. */
export function gramFlops(layer: QuantizableLayer, tokens: number): number {
  return tokens * layer.groups * layer.columns ** 2;
}

/** Bytes of the Gram matrices of a layer: sums in float64 up to `GRAM_FLOAT64_COLUMNS`. */
export function gramBytes(layer: QuantizableLayer): number {
  const { columns, groups } = layer;
  return groups * columns ** 2 * (columns <= GRAM_FLOAT64_COLUMNS ? 8 : 4);
}

/** Native memory of quantizing one layer, at most. */
export function workBytes(layer: QuantizableLayer): number {
  return 16 * layer.columns ** 2 + (12 * layer.parameters) / layer.groups;
}

/** Layers with the same key read the same activations in the same way and share their Gram matrices. */
export function gramKey(layer: QuantizableLayer): string {
  return JSON.stringify([layer.inputName, layer.conv ?? layer.columns]);
}
