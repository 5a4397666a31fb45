import { binary } from "../../ops/binary.js";
import type { GridOptions } from "../../ops/quantization-grid.js";
import { vectorNorm } from "../../ops/vector-reduce.js";
import type { Tensor } from "../../tensor/index.js";
import { roundToNearest } from "../round-to-nearest.js";

/** `||Q(W) - W||^2` of a weight whose first dimension is the outputs, rounded to nearest. */
export async function quantizationPerturbation(
  fn: string,
  name: string,
  weight: Tensor,
  grid: GridOptions,
  rowGroups: number | undefined,
  signal: AbortSignal | undefined,
): Promise<number> {
  const [out = 0] = weight.shape;
  using dense = weight.contiguous();
  using rows = dense.reshape([out, out === 0 ? 0 : weight.size / out]);
  let sum = 0;
  for (const { from, to } of pieces(out, rowGroups)) {
    // A group of rows with one grid is one long row.
    using piece = rows.slice(0, from, to);
    using W = rowGroups === undefined ? piece.contiguous() : piece.reshape([1, piece.size]);
    const quantized = await roundToNearest(W, { ...grid, name, signal, report: "none" });
    using rounded = quantized.dequantize();
    using same = rounded.to(W.device);
    using difference = binary(fn, "subtract", same, W);
    using length = vectorNorm(difference);
    sum += ((await length.data())[0] ?? Number.NaN) ** 2;
  }
  return sum;
}

/** All rows, or so many groups of neighbouring rows, the last with what is left. */
function pieces(out: number, groups: number | undefined): { from: number; to: number }[] {
  if (groups === undefined) return [{ from: 0, to: out }];
  const rows = Math.ceil(out / groups);
  return Array.from({ length: Math.ceil(out / rows) }, (_, i) => ({
    from: i * rows,
    to: Math.min(out, (i + 1) * rows),
  }));
}
