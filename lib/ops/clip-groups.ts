import { kernel, type Task } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";
import { type GridOptions, checkGrid } from "./quantization-grid.js";

/**
 * Limits the weights of each row and group to the range whose rounding changes the layer's output least, among 1, 0.95, ... 0.55
 * of the group's largest.
 *
 * @param weight `[out, in]` float32, finite.
 * @param gram `[in, in]` float32 or float64.
 * @returns `[out, in]` float32; the caller disposes it. Cost: 20 * out * in * group flops.
 */
export function* clipGroups(
  fn: string,
  weight: Tensor,
  gram: Tensor,
  grid: GridOptions,
): Task<Tensor<"float32">> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  const columns = weight.shape[1] ?? 0;
  checkTensor(fn, "gram", gram, ["float32", "float64"], [columns, columns]);
  checkSameDevice(fn, { weight, gram });
  checkGrid(fn, grid);
  const clipped = Tensor.empty(weight.shape, { device: weight.device });
  const [w, h] = [rowsOf(weight), rowsOf(gram)];
  try {
    yield* kernel(fn, "clip_groups", weight.device, {
      weight: w.rows.native(fn),
      gram: h.rows.native(fn),
      clipped: clipped.native(fn),
      bits: grid.bits,
      sym: Number(grid.sym),
      groupSize: grid.groupSize,
      float16Scales: Number(grid.scaleDtype === "float16"),
    });
    return clipped;
  } catch (error) {
    clipped.dispose();
    throw error;
  } finally {
    w.dispose();
    h.dispose();
  }
}
