import { ArgumentError, expected } from "../../errors.js";
import { unary, type UnaryOp } from "../../ops/unary.js";
import type { Tensor } from "../../tensor/index.js";
import type { Maybe } from "../context.js";
import { differentiable } from "../define.js";
import { directional } from "../directional.js";
import { add, mul, sub, plus } from "./arithmetic.js";
import { affine, elementwise, exp, scale, square } from "./elementary.js";

/** A function with kernels for its derivatives, so that a rule is one pass over memory. */
interface Activation {
  readonly op: UnaryOp;
  /**
   * The second derivative in differentiable operations, from which the third and later ones are taken; `undefined` for
   * functions that are linear in pieces.
   */
  readonly second?: (x: Tensor) => Tensor;
}

interface Order {
  readonly f: Activation;
  readonly order: 0 | 1 | 2;
  readonly alpha: number;
  readonly beta: number;
}

const value = elementwise<Order>("activation", ({ inputs: [x], attributes }, v) =>
  weighted(x, v, { ...attributes, order: 1 }),
);

// w f'(x) or w f''(x).
const derivative = differentiable<[Tensor, Tensor], Order>("derivative of an activation", {
  vjp: ({ inputs: [x, w], attributes }, g, [needX, needW]) => [
    needX ? next(x, mul(g, w), attributes) : undefined,
    needW ? weighted(x, g, attributes) : undefined,
  ],
  jvp: ({ inputs: [x, w], attributes }, [tx, tw]) =>
    plus(tx && next(x, mul(tx, w), attributes), tw && weighted(x, tw, attributes)),
});

/** w times the derivative after the one at hand. */
function next(x: Tensor, w: Tensor, at: Order): Maybe {
  const { second } = at.f;
  if (second === undefined) return undefined;
  if (at.order === 1) return weighted(x, w, { ...at, order: 2 });
  return directional(() => second(x), x, w);
}

function weighted(x: Tensor, weight: Tensor, at: Order): Tensor {
  const { f, order, alpha, beta } = at;
  return derivative([x, weight], unary(f.op, f.op, x, { order, weight, alpha, beta }), at);
}

function apply(fn: string, f: Activation, x: Tensor, alpha = 0, beta = 0): Tensor {
  return value([x], unary(fn, f.op, x, { alpha, beta }), { f, order: 0, alpha, beta });
}

const TANH: Activation = {
  op: "tanh",
  second: (x) => {
    const t = tanh(x);
    return scale(mul(t, affine(square(t), -1, 1)), -2);
  },
};

const SIGMOID: Activation = {
  op: "sigmoid",
  second: (x) => {
    const s = sigmoid(x);
    return mul(mul(s, affine(s, -1, 1)), affine(s, -2, 1));
  },
};

const GELU: Activation = {
  op: "gelu",
  second: (x) => {
    const squared = square(x);
    const density = scale(exp(scale(squared, -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return mul(density, affine(squared, -1, 2));
  },
};

const GELU_TANH: Activation = {
  op: "geluTanh",
  second: (x) => {
    // u = c (x + a x^3), t = tanh u: f'' = (1 - t^2) (u' + x u'' / 2 - x t u'^2)
    const c = Math.sqrt(2 / Math.PI);
    const a = 0.044715;
    const squared = square(x);
    const t = tanh(mul(x, affine(squared, c * a, c)));
    const slope = affine(squared, 3 * a * c, c);
    const bend = sub(add(slope, scale(squared, 3 * a * c)), mul(mul(x, t), square(slope)));
    return mul(affine(square(t), -1, 1), bend);
  },
};

const SILU: Activation = {
  op: "silu",
  second: (x) => {
    const s = sigmoid(x);
    return mul(mul(s, affine(s, -1, 1)), affine(mul(x, affine(s, -2, 1)), 1, 2));
  },
};

const SOFTPLUS: Activation = {
  op: "softplus",
  second: (x) => {
    const s = sigmoid(x);
    return mul(s, affine(s, -1, 1));
  },
};

const RELU: Activation = { op: "relu" };
const ABS: Activation = { op: "abs" };
const CLAMP: Activation = { op: "clamp" };

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return apply("tanh", TANH, x);
}

/** `1 / (1 + e^-x)`. */
export function sigmoid(x: Tensor): Tensor {
  return apply("sigmoid", SIGMOID, x);
}

/** `max(x, 0)`; its derivative at 0 is taken as 0. */
export function relu(x: Tensor): Tensor {
  return apply("relu", RELU, x);
}

export interface GeluOptions {
  /** "none": `x Phi(x)` (default). "tanh": `x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2`. */
  readonly approximate?: "none" | "tanh" | undefined;
}

/** The Gaussian error linear unit. Hendrycks, Gimpel, 2016. */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  const { approximate = "none" } = options;
  if (!["none", "tanh"].includes(approximate))
    throw new ArgumentError(expected("gelu", '"none" or "tanh"', "approximate", approximate));
  return apply("gelu", approximate === "tanh" ? GELU_TANH : GELU, x);
}

/** `x sigmoid(x)`, also called swish. */
export function silu(x: Tensor): Tensor {
  return apply("silu", SILU, x);
}

/** `log(1 + e^x)`. */
export function softplus(x: Tensor): Tensor {
  return apply("softplus", SOFTPLUS, x);
}

/** `|x|`; its derivative at 0 is taken as 0. */
export function abs(x: Tensor): Tensor {
  return apply("abs", ABS, x);
}

/** x cut to `[low, high]`; its derivative is 1 from low to high, both included, and 0 outside. */
export function clamp(x: Tensor, low: number, high: number): Tensor {
  if (!(low <= high))
    throw new ArgumentError(expected("clamp", "low <= high", "low and high", [low, high]));
  return apply("clamp", CLAMP, x, low, high);
}
