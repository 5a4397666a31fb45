import { enqueue } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { rowsShape, shaped, withPacked } from "./packed.js";

export interface SoftmaxKind {
  /** Factor of x, above 0. */
  readonly scale: number;
  /** The logarithm of it. */
  readonly log: boolean;
  /** The last two dimensions are queries and keys: a query sees the keys up to its own place, the last one all of them. */
  readonly causal: boolean;
}

/** Softmax over the last dimension. Queued; the result is contiguous. */
export function softmax(fn: string, x: Tensor, { scale, log, causal }: SoftmaxKind): Tensor {
  checkReal(fn, "x", x);
  if (x.rank < (causal ? 2 : 1))
    throw new ShapeError(expected(fn, `${causal ? 2 : 1} or more dimensions`, "x", x.shape));
  if (!(scale > 0 && scale < Infinity))
    throw new ArgumentError(expected(fn, "a number above 0", "scale", scale));
  const y = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  const rows = rowsShape(x);
  withPacked(fn, [x], (source) => {
    enqueue(fn, "softmax", x.device, {
      x: shaped(fn, source, rows),
      y: shaped(fn, y, rows),
      scale,
      log: log ? 1 : 0,
      causalRows: causal ? (x.shape.at(-2) ?? 0) : 0,
    });
  });
  return y;
}

/** The derivative of softmax at its result y, times g. Queued. */
export function softmaxBackward(
  fn: string,
  y: Tensor,
  g: Tensor,
  scale: number,
  log: boolean,
): Tensor {
  const dx = Tensor.empty(y.shape, { dtype: y.dtype, device: y.device });
  const rows = rowsShape(y);
  withPacked(fn, [y, g], (values, cotangents) => {
    enqueue(fn, "softmax_backward", y.device, {
      y: shaped(fn, values, rows),
      g: shaped(fn, cotangents, rows),
      dx: shaped(fn, dx, rows),
      scale,
      log: log ? 1 : 0,
    });
  });
  return dx;
}
