/** ONNX graphs: the layers that can be quantized, and new weights for them. */
export { checkExportable, checkOpset, writeDenseWeight, writeQuantizedWeight } from "./rewrite.js";
export type { ExportOptions } from "./rewrite.js";
export type { ConvGeometry } from "./conv-geometry.js";
export { findLayers, readWeight } from "./layers.js";
export type { LayerOp, QuantizableLayer } from "./layers.js";
