import { enqueue } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { withPacked } from "./packed.js";

export interface Normalized {
  /** The shape of x. */
  readonly y: Tensor;
  /** [rows] */
  readonly mean: Tensor;
  /** [rows], `1 / sqrt(variance + eps)`. */
  readonly inverseDeviation: Tensor;
}

/** Rows of x `[outer, rows, inner]` brought to mean 0 (when centred) and mean square 1. Queued. */
export function normalize(fn: string, x: Tensor, eps: number, centred: boolean): Normalized {
  checkReal(fn, "x", x);
  if (x.rank !== 3) throw new ShapeError(expected(fn, "shape [outer, rows, inner]", "x", x.shape));
  if (!(eps >= 0 && eps < Infinity))
    throw new ArgumentError(expected(fn, "a number >= 0", "eps", eps));
  const like = { dtype: x.dtype, device: x.device };
  const rows = [x.shape[1] ?? 0];
  const y = Tensor.empty(x.shape, like);
  const mean = Tensor.empty(rows, like);
  const inverseDeviation = Tensor.empty(rows, like);
  withPacked(fn, [x], (source) => {
    enqueue(fn, "normalize", x.device, {
      x: source.native(fn),
      y: y.native(fn),
      mean: mean.native(fn),
      inverseDeviation: inverseDeviation.native(fn),
      eps,
      centred: centred ? 1 : 0,
    });
  });
  return { y, mean, inverseDeviation };
}

/** The derivative of `normalize` at its result y, times g. Queued. */
export function normalizeBackward(
  fn: string,
  y: Tensor,
  inverseDeviation: Tensor,
  g: Tensor,
  centred: boolean,
): Tensor {
  const dx = Tensor.empty(y.shape, { dtype: y.dtype, device: y.device });
  withPacked(fn, [y, inverseDeviation, g], (values, inverse, cotangents) => {
    enqueue(fn, "normalize_backward", y.device, {
      y: values.native(fn),
      inverseDeviation: inverse.native(fn),
      g: cotangents.native(fn),
      dx: dx.native(fn),
      centred: centred ? 1 : 0,
    });
  });
  return dx;
}
