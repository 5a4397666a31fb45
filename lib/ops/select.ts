import { enqueue } from "../binding/index.js";
import { DTypeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { broadcastShape, checkLike, checkReal, repeated } from "./broadcast.js";

/** `condition ? a : b`, element by element, over the shape all three broadcast to. Queued. */
export function select(fn: string, condition: Tensor, a: Tensor, b: Tensor): Tensor {
  checkReal(fn, "a", a);
  checkReal(fn, "b", b);
  checkLike(fn, a, "b", b);
  if (!(condition instanceof Tensor) || condition.dtype !== "bool")
    throw new DTypeError(expected(fn, "a bool tensor", "condition", condition));
  const shape = broadcastShape(fn, condition.shape, broadcastShape(fn, a.shape, b.shape));
  const y = Tensor.empty(shape, { dtype: a.dtype, device: a.device });
  enqueue(fn, "select", a.device, {
    condition: repeated(fn, condition, shape),
    a: repeated(fn, a, shape),
    b: repeated(fn, b, shape),
    y: y.native(fn),
  });
  return y;
}
