import { enqueue } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { broadcastShape, checkLike, checkReal, repeated } from "./broadcast.js";

/** The order is that of CompareOp in native/core/elementwise.h. */
const compareOps = {
  equal: 0,
  notEqual: 1,
  less: 2,
  lessEqual: 3,
  greater: 4,
  greaterEqual: 5,
} as const;

export type CompareOp = keyof typeof compareOps;

/** `a op b` as a bool tensor over the shape both broadcast to. Queued. */
export function compare(fn: string, op: CompareOp, a: Tensor, b: Tensor): Tensor<"bool"> {
  checkReal(fn, "a", a);
  checkReal(fn, "b", b);
  checkLike(fn, a, "b", b);
  const shape = broadcastShape(fn, a.shape, b.shape);
  const y = Tensor.empty(shape, { dtype: "bool", device: a.device });
  enqueue(fn, "compare", a.device, {
    a: repeated(fn, a, shape),
    b: repeated(fn, b, shape),
    y: y.native(fn),
    op: compareOps[op],
  });
  return y;
}
