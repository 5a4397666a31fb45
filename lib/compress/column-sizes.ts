import { kernel, type Task } from "../binding/index.js";
import { binary } from "../ops/binary.js";
import { groupCount } from "../ops/quantization-grid.js";
import { reduce } from "../ops/reduce.js";
import { unary } from "../ops/unary.js";
import { Tensor, nativeArray } from "../tensor/index.js";

/** Keeps a group of zeros from being divided by zero; no normal weight is smaller. */
const TINY = 2 ** -126;

/**
 * For each column the mean over all rows of all weights of |w| over the largest |w| of its row and group.
 *
 * @param weights `[out, in]` float32 of one width.
 */
export function* relativeColumnSizes(
  fn: string,
  weights: readonly Tensor[],
  groupSize: number,
): Task<Float64Array> {
  const columns = weights[0]?.shape[1] ?? 0;
  const size = groupSize === -1 ? columns : groupSize;
  const sums = new Float64Array(columns);
  for (const W of weights) {
    using tiny = Tensor.from([TINY], [1, 1], { device: W.device });
    for (let g = 0; g < groupCount(columns, groupSize); ++g) {
      const [from, to] = [g * size, Math.min((g + 1) * size, columns)];
      using part = W.slice(1, from, to);
      using magnitude = unary(fn, "abs", part);
      using widest = reduce(fn, "max", magnitude, [1]);
      using divisor = binary(fn, "maximum", widest, tiny);
      using relative = binary(fn, "divide", magnitude, divisor);
      using total = reduce(fn, "sum", relative, [0]);
      const values = new Float32Array(to - from);
      const y = nativeArray(values, "float32", total.shape);
      yield* kernel(fn, "convert", total.device, { x: total.native(fn), y });
      for (const [j, value] of values.entries()) sums[from + j] = (sums[from + j] ?? 0) + value;
    }
  }
  const rows = weights.reduce((sum, W) => sum + (W.shape[0] ?? 0), 0);
  return sums.map((sum) => (rows === 0 ? 0 : sum / rows));
}
