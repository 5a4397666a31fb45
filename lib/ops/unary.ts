import { enqueue } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { checkLike, checkReal, repeated } from "./broadcast.js";

/** The order is that of UnaryOp in native/core/elementwise.h, which has the formulas. */
const unaryOps = [
  "affine",
  "abs",
  "exp",
  "log",
  "sqrt",
  "reciprocal",
  "square",
  "sin",
  "cos",
  "power",
  "erf",
  "tanh",
  "sigmoid",
  "relu",
  "gelu",
  "geluTanh",
  "silu",
  "softplus",
  "clamp",
] as const;

export type UnaryOp = (typeof unaryOps)[number];

export interface UnaryOptions {
  /** Which derivative: 0 the function itself, 1 or 2; default 0. */
  readonly order?: 0 | 1 | 2 | undefined;
  /** Factor of each element; it broadcasts to the shape of x. */
  readonly weight?: Tensor | undefined;
  readonly alpha?: number | undefined;
  readonly beta?: number | undefined;
}

/** `weight * f(x)` with f a derivative of the function. Queued; the result has the shape of x, contiguous. */
export function unary(fn: string, op: UnaryOp, x: Tensor, options: UnaryOptions = {}): Tensor {
  const { order = 0, weight, alpha = 0, beta = 0 } = options;
  checkReal(fn, "x", x);
  if (weight !== undefined) {
    checkReal(fn, "weight", weight);
    checkLike(fn, x, "weight", weight);
  }
  const y = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  enqueue(fn, "unary", x.device, {
    x: x.native(fn),
    weight: weight && repeated(fn, weight, x.shape),
    y: y.native(fn),
    op: unaryOps.indexOf(op),
    order,
    alpha,
    beta,
  });
  return y;
}
