import { unary, type UnaryOp } from "../../ops/unary.js";
import type { Tensor } from "../../tensor/index.js";
import type { Maybe } from "../context.js";
import { differentiable, type Use } from "../define.js";
import { div, mul } from "./arithmetic.js";

interface Constants {
  readonly alpha: number;
  readonly beta: number;
}

/**
 * An operation of each element alone: `times(use, v)` is `v` times the derivative at x, and so both of its rules;
 * `undefined` where the derivative is zero everywhere.
 */
export function elementwise<A>(
  name: string,
  times: (use: Use<[Tensor], A>, v: Tensor) => Maybe,
): (inputs: [Tensor], output: Tensor, attributes: A) => Tensor {
  return differentiable<[Tensor], A>(name, {
    vjp: (use, g) => [times(use, g)],
    jvp: (use, [t]) => t && times(use, t),
  });
}

function elementary(
  op: UnaryOp,
  times: (x: Tensor, y: Tensor, v: Tensor, constants: Constants) => Maybe,
) {
  const follow = elementwise<Constants>(op, ({ inputs: [x], output, attributes }, v) =>
    times(x, output, v, attributes),
  );
  return (fn: string, x: Tensor, alpha = 0, beta = 0): Tensor =>
    follow([x], unary(fn, op, x, { alpha, beta }), { alpha, beta });
}

const affineOf = elementary("affine", (_x, _y, v, { alpha }) => scale(v, alpha));
const expOf = elementary("exp", (_x, y, v) => mul(v, y));
const logOf = elementary("log", (x, _y, v) => div(v, x));
const sqrtOf = elementary("sqrt", (_x, y, v) => div(scale(v, 0.5), y));
const reciprocalOf = elementary("reciprocal", (_x, y, v) => neg(mul(v, square(y))));
const squareOf = elementary("square", (x, _y, v) => scale(mul(v, x), 2));
const sinOf = elementary("sin", (x, _y, v) => mul(v, cos(x)));
const cosOf = elementary("cos", (x, _y, v) => neg(mul(v, sin(x))));
const erfOf = elementary("erf", (x, _y, v) =>
  scale(mul(v, exp(neg(square(x)))), 2 / Math.sqrt(Math.PI)),
);
const powerOf = elementary("power", (x, _y, v, { alpha: p }) => {
  if (p === 0) return undefined;
  return p === 1 ? v : scale(mul(v, power(x, p - 1)), p);
});

/** `alpha x + beta`. */
export function affine(x: Tensor, alpha: number, beta: number): Tensor {
  return affineOf("affine", x, alpha, beta);
}

/** `factor * x`. */
export function scale(x: Tensor, factor: number): Tensor {
  return affineOf("scale", x, factor, 0);
}

/** `-x`. */
export function neg(x: Tensor): Tensor {
  return affineOf("neg", x, -1, 0);
}

/** `e^x`, element by element. */
export function exp(x: Tensor): Tensor {
  return expOf("exp", x);
}

/** The natural logarithm; -Inf at 0, NaN below. */
export function log(x: Tensor): Tensor {
  return logOf("log", x);
}

/** The square root; NaN below 0. Its derivative at 0 is infinite. */
export function sqrt(x: Tensor): Tensor {
  return sqrtOf("sqrt", x);
}

/** `1 / x`. */
export function reciprocal(x: Tensor): Tensor {
  return reciprocalOf("reciprocal", x);
}

/** `x^2`. */
export function square(x: Tensor): Tensor {
  return squareOf("square", x);
}

/** The sine, x in radians. */
export function sin(x: Tensor): Tensor {
  return sinOf("sin", x);
}

/** The cosine, x in radians. */
export function cos(x: Tensor): Tensor {
  return cosOf("cos", x);
}

/** The error function. */
export function erf(x: Tensor): Tensor {
  return erfOf("erf", x);
}

/** `x^exponent` for a constant exponent. */
export function power(x: Tensor, exponent: number): Tensor {
  return exponent === 2 ? square(x) : powerOf("pow", x, exponent);
}
