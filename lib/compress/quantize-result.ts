import type { Device } from "../binding/index.js";
import type { QuantizedLinear } from "../formats/quantized.js";
import { dequantize } from "../ops/dequantize.js";
import type { Codes, GridOptions } from "../ops/quantization-grid.js";
import { Tensor } from "../tensor/index.js";
import type { LayerReport } from "./layer-report.js";

/** A quantized layer with its report. */
export interface QuantizeResult extends QuantizedLinear {
  readonly report: LayerReport;
  /**
   * The weights the codes stand for: `[outFeatures, inFeatures]` float32 on the device of the weights that were quantized; the
   * caller disposes it.
   */
  dequantize(): Tensor<"float32">;
}

export function quantizeResult(
  W: Tensor,
  grid: GridOptions,
  codes: Codes,
  report: LayerReport,
): QuantizeResult {
  const linear = quantizedLinear(W, grid, codes);
  return { ...linear, report, dequantize: () => dequantizeLinear(linear, W.device) };
}

/** @internal The codes of W as a layer. */
export function quantizedLinear(W: Tensor, grid: GridOptions, codes: Codes): QuantizedLinear {
  const [outFeatures = 0, inFeatures = 0] = W.shape;
  const middle = 2 ** (grid.bits - 1);
  return {
    outFeatures,
    inFeatures,
    bits: grid.bits,
    groupSize: grid.groupSize,
    groups: codes.groups,
    sym: grid.sym || codes.zeros.every((zero) => zero === middle),
    codes: codes.codes,
    scales: codes.scales,
    zeros: codes.zeros,
    groupIndex: codes.groupIndex,
    scaleDtype: grid.scaleDtype,
  };
}

/** @internal The weights of a quantized layer, `[out, in]` float32, on `device`. */
export function dequantizeLinear(q: QuantizedLinear, device: Device = "cpu"): Tensor<"float32"> {
  const options = device === "cpu" ? { borrow: true } : { device };
  const codes = Tensor.from(q.codes, [q.outFeatures, q.inFeatures], options);
  const scales = Tensor.from(q.scales, [q.groups, q.outFeatures], options);
  const zeros = Tensor.from(q.zeros, [q.groups, q.outFeatures], options);
  const groupIndex = Tensor.from(q.groupIndex, [q.inFeatures], options);
  try {
    return dequantize({ codes, scales, zeros, groupIndex });
  } finally {
    for (const tensor of [codes, scales, zeros, groupIndex]) tensor.dispose();
  }
}
