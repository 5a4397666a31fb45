import { enqueue } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkLike } from "./broadcast.js";

/** Writes x into `target`, a tensor or a view of one, of the same shape and dtype, in memory that is not x's. Queued. */
export function copyInto(fn: string, x: Tensor, target: Tensor): void {
  checkLike(fn, target, "x", x);
  if (x.rank !== target.rank || x.shape.some((length, i) => length !== target.shape[i]))
    throw new ShapeError(expected(fn, `shape [${target.shape.join(", ")}]`, "x", x.shape));
  enqueue(fn, "copy", x.device, { x: x.native(fn), y: target.native(fn) });
}

/** x with `before` and `after` zeros around it along an axis. Queued. */
export function pad(fn: string, x: Tensor, axis: number, before: number, after: number): Tensor {
  const length = x.shape[axis];
  if (length === undefined || before < 0 || after < 0 || !Number.isInteger(before + after))
    throw new ArgumentError(expected(fn, "whole numbers >= 0", "the padding", [before, after]));
  const shape = x.shape.map((n, i) => (i === axis ? n + before + after : n));
  const y = Tensor.zeros(shape, { dtype: x.dtype, device: x.device });
  const inside = y.slice(axis, before, before + length);
  copyInto(fn, x, inside);
  inside.dispose();
  return y;
}
