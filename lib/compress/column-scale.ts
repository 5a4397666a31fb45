/** `W X = (W diag(s)) (diag(s)^-1 X)`: what SmoothQuant and AWQ do to a layer before it is quantized. */
import { kernel, type Task } from "../binding/index.js";
import { ColumnStatistics } from "../curvature/index.js";
import { ArgumentError, NumericalError, ShapeError, expected } from "../errors.js";
import { binary } from "../ops/binary.js";
import { checkSameDevice, checkTensor } from "../ops/check.js";
import { accumulateColumns, newColumnSums } from "../ops/column-statistics.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkWeight } from "./layer-input.js";

/** The weights that share an input, scaled. The caller disposes them. */
export interface ScaledWeights {
  /** `[in]`: inputs are to be divided by this, in the layer before or at run time. */
  readonly scale: Float32Array;
  /** `W diag(scale)`, in the order given. */
  readonly weights: readonly Tensor[];
}

/** Checks weights that share an input: `[out, in]` float32, finite, of one width and device, at least one. */
export function* checkWeights(
  fn: string,
  weights: readonly Tensor[],
  name: string | undefined,
): Task<number> {
  const first = Array.isArray(weights) ? (weights[0] as Tensor | undefined) : undefined;
  if (first === undefined)
    throw new ArgumentError(expected(fn, "one weight or more", "weights", weights));
  for (const [index, W] of weights.entries())
    yield* checkWeight(fn, W, name ?? `weights[${index}]`);
  const columns = first.shape[1] ?? 0;
  for (const [index, W] of weights.entries()) {
    if (W.shape[1] !== columns)
      throw new ShapeError(
        expected(fn, `${columns} columns, as the first`, `weights[${index}]`, W.shape),
      );
    checkSameDevice(fn, { "weights[0]": first, [`weights[${index}]`]: W });
  }
  return columns;
}

/** Checks statistics of so many inputs that saw a token. */
export function checkStatistics(
  fn: string,
  statistics: unknown,
  columns: number,
): asserts statistics is ColumnStatistics {
  if (!(statistics instanceof ColumnStatistics))
    throw new ArgumentError(expected(fn, "ColumnStatistics", "statistics", statistics));
  if (statistics.inFeatures !== columns) {
    const what = `statistics of ${columns} features, as the weights have columns`;
    throw new ArgumentError(expected(fn, what, "statistics.inFeatures", statistics.inFeatures));
  }
  if (statistics.count === 0) {
    const message = `${fn}: expected calibration tokens in the statistics but they have none: nothing is known about the layer's inputs`;
    throw new NumericalError("NO_TOKENS", message);
  }
}

/** The largest |w| of each column over all weights. */
export function* largestOfColumns(
  fn: string,
  weights: readonly Tensor[],
  columns: number,
): Task<Float32Array> {
  const [first] = weights;
  const sums = newColumnSums(columns, first?.device ?? "cpu");
  try {
    for (const W of weights) yield* accumulateColumns(fn, W, sums);
    const largest = new Float32Array(columns);
    const y = nativeArray(largest, "float32");
    yield* kernel(fn, "convert", sums.largest.device, { x: sums.largest.native(fn), y });
    return largest;
  } finally {
    for (const sum of Object.values(sums) as Tensor[]) sum.dispose();
  }
}

/** `W diag(scale)`, or `W diag(scale)^-1`: a new tensor in the dtype of W. */
export function scaleColumns(
  fn: string,
  W: Tensor,
  scale: Float32Array,
  op: "multiply" | "divide" = "multiply",
): Tensor {
  using s = Tensor.from(scale, [scale.length], { device: W.device });
  using factor = s.toDType(W.dtype);
  return binary(fn, op, W, factor);
}

/** `diag(scale)^-1 H diag(scale)^-1`. */
export function unscaleGram(fn: string, gram: Tensor, scale: Float32Array): Tensor {
  checkTensor(fn, "gram", gram, ["float32", "float64"], [scale.length, scale.length]);
  using half = scaleColumns(fn, gram, scale, "divide");
  using across = half.transpose();
  return scaleColumns(fn, across, scale, "divide");
}
