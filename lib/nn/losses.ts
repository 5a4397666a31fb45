import {
  abs,
  mean,
  mul,
  neg,
  softplus,
  square,
  sub,
  sum,
  where,
  less,
  affine,
  add,
  type Reduction,
} from "../autodiff/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { sameShape, scope, type Tensor } from "../tensor/index.js";

export {
  crossEntropy,
  ctcLoss,
  type CrossEntropyOptions,
  type CtcLossOptions,
  type Reduction,
} from "../autodiff/index.js";

export interface LossOptions {
  /** Default "mean", over all elements. */
  readonly reduction?: Reduction | undefined;
}

function reduced(
  fn: string,
  x: Tensor,
  y: Tensor,
  { reduction = "mean" }: LossOptions,
  loss: () => Tensor,
): Tensor {
  if (!["mean", "sum", "none"].includes(reduction))
    throw new ArgumentError(expected(fn, '"mean", "sum" or "none"', "reduction", reduction));
  if (!sameShape(x.shape, y.shape))
    throw new ShapeError(
      `${fn}: expected targets of the shape of the outputs but received [${x.shape.join(", ")}] and [${y.shape.join(", ")}]`,
    );
  return scope(() => {
    const elements = loss();
    if (reduction === "none") return elements;
    return reduction === "sum" ? sum(elements) : mean(elements);
  });
}

/** `(output - target)^2`. Shapes are equal: nothing broadcasts in a loss. */
export function mseLoss(outputs: Tensor, targets: Tensor, options: LossOptions = {}): Tensor {
  return reduced("mseLoss", outputs, targets, options, () => square(sub(outputs, targets)));
}

/** `|output - target|`. */
export function l1Loss(outputs: Tensor, targets: Tensor, options: LossOptions = {}): Tensor {
  return reduced("l1Loss", outputs, targets, options, () => abs(sub(outputs, targets)));
}

/** `d^2 / 2` for `d = |output - target|` below delta, else `delta (d - delta / 2)`. Huber, 1964. */
export function huberLoss(
  outputs: Tensor,
  targets: Tensor,
  options: LossOptions & { /** Default 1. */ readonly delta?: number | undefined } = {},
): Tensor {
  const { delta = 1 } = options;
  if (!(delta > 0))
    throw new ArgumentError(expected("huberLoss", "a number above 0", "delta", delta));
  return reduced("huberLoss", outputs, targets, options, () => {
    const d = sub(outputs, targets);
    const size = abs(d);
    return where(less(size, delta), mul(square(d), 0.5), affine(size, delta, (-delta * delta) / 2));
  });
}

/** `-t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z))` for logits z and targets t from 0 to 1, without overflow. */
export function binaryCrossEntropyWithLogits(
  logits: Tensor,
  targets: Tensor,
  options: LossOptions = {},
): Tensor {
  return reduced("binaryCrossEntropyWithLogits", logits, targets, options, () =>
    add(softplus(logits), neg(mul(logits, targets))),
  );
}
