import { enqueue } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { rowsShape, shaped, withPacked } from "./packed.js";

/** The index of the largest element of the last dimension, the first of equal ones; NaN counts as the largest. Queued. */
export function argmax(x: Tensor): Tensor<"int32"> {
  const fn = "argmax";
  checkReal(fn, "x", x);
  if (x.rank === 0 || x.shape.at(-1) === 0)
    throw new ShapeError(expected(fn, "shape [..., n] with n > 0", "x", x.shape));
  const index = Tensor.empty(x.shape.slice(0, -1), { dtype: "int32", device: x.device });
  withPacked(fn, [x], (source) => {
    enqueue(fn, "argmax", x.device, {
      x: shaped(fn, source, rowsShape(x)),
      index: shaped(fn, index, [index.size]),
    });
  });
  return index;
}
