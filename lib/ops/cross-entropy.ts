import { enqueue } from "../binding/index.js";
import { DTypeError, ShapeError, expected } from "../errors.js";
import { sameShape, Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { checkInteger } from "./check.js";
import { elementsOf, rowsShape, shaped, withPacked } from "./packed.js";

/** Classes of rows. */
export interface Targets {
  /** int32, the shape of the logits without their last dimension. */
  readonly target: Tensor;
  /** Rows with this target have no loss; undefined: there are none. */
  readonly ignoreIndex: number | undefined;
}

function ignoring({ ignoreIndex }: Targets) {
  return { ignore: ignoreIndex === undefined ? 0 : 1, ignoreIndex: ignoreIndex ?? 0 };
}

/**
 * The cross-entropy of each row of logits `[..., classes]` with its class, and the log-sum-exp of the row. Queued.
 * A target that is no class is an ArgumentError when the loss is read.
 */
export function crossEntropyRows(
  fn: string,
  x: Tensor,
  targets: Targets,
): { loss: Tensor; logSum: Tensor } {
  const { target, ignoreIndex } = targets;
  checkReal(fn, "logits", x);
  const shape = x.shape.slice(0, -1);
  if (x.rank === 0 || x.shape.at(-1) === 0)
    throw new ShapeError(expected(fn, "shape [..., classes]", "logits", x.shape));
  if (!(target instanceof Tensor) || target.dtype !== "int32")
    throw new DTypeError(expected(fn, "an int32 tensor", "targets", target));
  if (!sameShape(target.shape, shape))
    throw new ShapeError(
      `${fn}: expected shape [${shape.join(", ")}] for targets, as logits [${x.shape.join(", ")}] have rows, but received [${target.shape.join(", ")}]`,
    );
  if (ignoreIndex !== undefined)
    checkInteger(fn, "ignoreIndex", ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  const like = { dtype: x.dtype, device: x.device };
  const loss = Tensor.empty(shape, like);
  const logSum = Tensor.empty(shape, like);
  const flat = [elementsOf(shape)];
  withPacked(fn, [x, target], (logits, classes) => {
    enqueue(fn, "cross_entropy", x.device, {
      x: shaped(fn, logits, rowsShape(x)),
      target: shaped(fn, classes, flat),
      loss: shaped(fn, loss, flat),
      logSum: shaped(fn, logSum, flat),
      ...ignoring(targets),
    });
  });
  return { loss, logSum };
}

/** `weight (softmax(x) - onehot(target))`, row by row. Queued. */
export function crossEntropyBackward(
  fn: string,
  x: Tensor,
  logSum: Tensor,
  weight: Tensor,
  targets: Targets,
): Tensor {
  const dx = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  const flat = [logSum.size];
  withPacked(fn, [x, targets.target, weight], (logits, classes, weights) => {
    enqueue(fn, "cross_entropy_backward", x.device, {
      x: shaped(fn, logits, rowsShape(x)),
      target: shaped(fn, classes, flat),
      logSum: shaped(fn, logSum, flat),
      weight: shaped(fn, weights, flat),
      dx: shaped(fn, dx, rowsShape(x)),
      ...ignoring(targets),
    });
  });
  return dx;
}
