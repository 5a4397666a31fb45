import { enqueue } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { broadcastShape, checkLike, checkReal, repeated } from "./broadcast.js";

/** The order is that of BinaryOp in native/core/elementwise.h. */
const binaryOps = {
  add: 0,
  subtract: 1,
  multiply: 2,
  divide: 3,
  maximum: 4,
  minimum: 5,
  pow: 6,
} as const;

export type BinaryOp = keyof typeof binaryOps;

/** `a op b` over the shape both broadcast to. Queued; the result is contiguous. */
export function binary(fn: string, op: BinaryOp, a: Tensor, b: Tensor): Tensor {
  checkReal(fn, "a", a);
  checkReal(fn, "b", b);
  checkLike(fn, a, "b", b);
  const shape = broadcastShape(fn, a.shape, b.shape);
  const y = Tensor.empty(shape, { dtype: a.dtype, device: a.device });
  enqueue(fn, "binary", a.device, {
    a: repeated(fn, a, shape),
    b: repeated(fn, b, shape),
    y: y.native(fn),
    op: binaryOps[op],
  });
  return y;
}
