import { binary, type BinaryOp } from "../../ops/binary.js";
import { compare, type CompareOp } from "../../ops/compare.js";
import { checkReal } from "../../ops/broadcast.js";
import { select } from "../../ops/select.js";
import { ArgumentError, expected } from "../../errors.js";
import { sameShape, type Tensor } from "../../tensor/index.js";
import type { Maybe } from "../context.js";
import { differentiable } from "../define.js";
import { numberLike } from "../tensors.js";
import { clamp } from "./activations.js";
import { affine, log, neg, power, scale } from "./elementary.js";
import { sumTo } from "./reductions.js";

/** A tensor, or a number that stands for a tensor of it. */
export type Operand = Tensor | number;

type Pair = (a: Tensor, b: Tensor, y: Tensor, v: Tensor) => Tensor;

/** An operation of two operands that broadcast: v times its derivative by a, and by b, before sums over what was repeated. */
function pairwise(name: string, byA: Pair, byB: Pair) {
  return differentiable<[Tensor, Tensor], undefined>(name, {
    vjp: ({ inputs: [a, b], output: y }, g, [needA, needB]) => [
      needA ? sumTo(byA(a, b, y, g), a.shape) : undefined,
      needB ? sumTo(byB(a, b, y, g), b.shape) : undefined,
    ],
    jvp({ inputs: [a, b], output: y }, [ta, tb]) {
      return spread(plus(ta && byA(a, b, y, ta), tb && byB(a, b, y, tb)), y);
    },
  });
}

/** A tangent in the shape of what it belongs to, where the other operand made that larger. */
function spread(t: Maybe, y: Tensor): Maybe {
  return t === undefined || sameShape(t.shape, y.shape) ? t : t.expand(y.shape);
}

const first: Pair = (_a, _b, _y, v) => v;

const ops = {
  add: pairwise("add", first, first),
  subtract: pairwise("sub", first, (_a, _b, _y, v) => neg(v)),
  multiply: pairwise(
    "mul",
    (_a, b, _y, v) => mul(v, b),
    (a, _b, _y, v) => mul(v, a),
  ),
  divide: pairwise(
    "div",
    (_a, b, _y, v) => div(v, b),
    (_a, b, y, v) => neg(mul(v, div(y, b))),
  ),
  maximum: pairwise(
    "maximum",
    (a, b, _y, v) => shared(a, b, "greater", v),
    (a, b, _y, v) => shared(b, a, "greater", v),
  ),
  minimum: pairwise(
    "minimum",
    (a, b, _y, v) => shared(a, b, "less", v),
    (a, b, _y, v) => shared(b, a, "less", v),
  ),
  pow: pairwise(
    "pow",
    (a, b, _y, v) => mul(v, mul(b, pow(a, affine(b, 1, -1)))),
    // 0^b stays 0 for all b > 0, where log 0 would make NaN of it
    (a, _b, y, v) => mul(v, mul(y, log(where(equal(a, 0), 1, a)))),
  ),
} satisfies Record<BinaryOp, unknown>;

/** v where `a is` more than b, half of it where they are equal. */
function shared(a: Tensor, b: Tensor, is: CompareOp, v: Tensor): Tensor {
  const wins = compare("maximum", is, a, b);
  const ties = compare("maximum", "equal", a, b);
  return where(wins, v, where(ties, scale(v, 0.5), 0));
}

/** `a + b` where one of them may be zero. */
export function plus(a: Maybe, b: Maybe): Maybe {
  if (a === undefined || b === undefined) return a ?? b;
  return add(a, b);
}

/** Both operands as tensors. */
function tensorsOf(fn: string, a: Operand, b: Operand): [Tensor, Tensor] {
  if (typeof a !== "number") checkReal(fn, "a", a);
  if (typeof b !== "number") checkReal(fn, "b", b);
  if (typeof a !== "number") return [a, typeof b === "number" ? numberLike(b, a) : b];
  if (typeof b !== "number") return [numberLike(a, b), b];
  throw new ArgumentError(expected(fn, "a Tensor", "one of the operands", [a, b]));
}

function pair(fn: string, op: BinaryOp, left: Operand, right: Operand): Tensor {
  const [a, b] = tensorsOf(fn, left, right);
  return ops[op]([a, b], binary(fn, op, a, b), undefined);
}

/** `a + b`; shapes broadcast as in NumPy, a number stands for a tensor of it. */
export function add(a: Operand, b: Operand): Tensor {
  if (typeof b === "number" && typeof a !== "number") return affine(a, 1, b);
  if (typeof a === "number" && typeof b !== "number") return affine(b, 1, a);
  return pair("add", "add", a, b);
}

/** `a - b`. */
export function sub(a: Operand, b: Operand): Tensor {
  if (typeof b === "number" && typeof a !== "number") return affine(a, 1, -b);
  if (typeof a === "number" && typeof b !== "number") return affine(b, -1, a);
  return pair("sub", "subtract", a, b);
}

/** `a * b`, element by element. */
export function mul(a: Operand, b: Operand): Tensor {
  if (typeof b === "number" && typeof a !== "number") return scale(a, b);
  if (typeof a === "number" && typeof b !== "number") return scale(b, a);
  return pair("mul", "multiply", a, b);
}

/** `a / b`, element by element. */
export function div(a: Operand, b: Operand): Tensor {
  return pair("div", "divide", a, b);
}

/** `a^b`. By b it is differentiable for a > 0, and 0 is taken for its derivative at a = 0. */
export function pow(a: Operand, b: Operand): Tensor {
  return typeof b === "number" && typeof a !== "number" ? power(a, b) : pair("pow", "pow", a, b);
}

/** The larger of a and b; where they are equal each has half of the derivative (with a number: the tensor all of it). */
export function maximum(a: Operand, b: Operand): Tensor {
  if (typeof b === "number" && typeof a !== "number") return clamp(a, b, Infinity);
  if (typeof a === "number" && typeof b !== "number") return clamp(b, a, Infinity);
  return pair("maximum", "maximum", a, b);
}

/** The smaller of a and b; see `maximum`. */
export function minimum(a: Operand, b: Operand): Tensor {
  if (typeof b === "number" && typeof a !== "number") return clamp(a, -Infinity, b);
  if (typeof a === "number" && typeof b !== "number") return clamp(b, -Infinity, a);
  return pair("minimum", "minimum", a, b);
}

const selected = differentiable<[Tensor, Tensor, Tensor], undefined>("where", {
  vjp: ({ inputs: [condition, a, b] }, g, [, needA, needB]) => [
    undefined,
    needA ? sumTo(where(condition, g, 0), a.shape) : undefined,
    needB ? sumTo(where(condition, 0, g), b.shape) : undefined,
  ],
  jvp: ({ inputs: [condition], output }, [, ta, tb]) =>
    spread(where(condition, ta ?? 0, tb ?? 0), output),
});

/** `condition ? a : b`, element by element; condition is a bool tensor, and not both of a and b are numbers. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const fn = "where";
  const [yes, no] = tensorsOf(fn, a, b);
  return selected([condition, yes, no], select(fn, condition, yes, no), undefined);
}

function comparison(op: CompareOp) {
  return (a: Tensor, b: Operand): Tensor<"bool"> => {
    checkReal(op, "a", a);
    return compare(op, op, a, typeof b === "number" ? numberLike(b, a) : b);
  };
}

// Comparisons make bool tensors, for `where`. They have no derivative.
export const equal = comparison("equal");
export const notEqual = comparison("notEqual");
export const less = comparison("less");
export const lessEqual = comparison("lessEqual");
export const greater = comparison("greater");
export const greaterEqual = comparison("greaterEqual");
