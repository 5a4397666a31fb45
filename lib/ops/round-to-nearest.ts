import { type CallOptions, kernel, run, type Task } from "../binding/index.js";
import { type Tensor, nativeArray } from "../tensor/index.js";
import { checkTensor, rowsOf } from "./check.js";
import { type Codes, type GridOptions, checkGrid, newCodes } from "./quantization-grid.js";

/**
 * Rounds every weight to the nearest point of the grid of its row and group, half to even.
 *
 * @param weight `[out, in]` float32, finite. Cost: one pass over memory (80 with `mse`).
 */
export async function roundToNearestCodes(
  weight: Tensor,
  options: GridOptions & CallOptions,
): Promise<Codes> {
  return run(roundToNearestTask("roundToNearest", weight, options), options);
}

export function* roundToNearestTask(fn: string, weight: Tensor, options: GridOptions): Task<Codes> {
  checkTensor(fn, "weight", weight, ["float32"], ["out", "in"]);
  checkGrid(fn, options);
  const [out = 0, columns = 0] = weight.shape;
  const codes = newCodes(out, columns, options.groupSize);
  groupIndexOf(codes.groupIndex, options.groupSize);
  const { rows, dispose } = rowsOf(weight);
  try {
    yield* kernel(fn, "round_to_nearest", weight.device, {
      weight: rows.native(fn),
      codes: nativeArray(codes.codes, "uint8", [out, columns]),
      scales: nativeArray(codes.scales, "float32", [codes.groups, out]),
      zeros: nativeArray(codes.zeros, "uint8", [codes.groups, out]),
      bits: options.bits,
      sym: Number(options.sym),
      groupSize: options.groupSize,
      mse: Number(options.mse),
      float16Scales: Number(options.scaleDtype === "float16"),
    });
    return codes;
  } finally {
    dispose();
  }
}

/** Fills in the group of each column, for groups of neighbouring columns. */
export function groupIndexOf(index: Int32Array, groupSize: number): void {
  if (groupSize !== -1) index.forEach((_, i) => (index[i] = Math.floor(i / groupSize)));
}
