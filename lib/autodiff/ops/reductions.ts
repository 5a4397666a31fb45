import { ArgumentError, expected } from "../../errors.js";
import { axesOf, reduce, type Axes } from "../../ops/reduce.js";
import { compare } from "../../ops/compare.js";
import { sameShape, type Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { add, div, sub, where } from "./arithmetic.js";
import { exp, log, neg, scale, square } from "./elementary.js";
import { reshape } from "./views.js";

export interface ReduceOptions {
  /** Keep each axis as a dimension of 1; default false. */
  readonly keepDims?: boolean | undefined;
}

interface Reduced {
  readonly axes: readonly number[];
  readonly scale: number;
}

const summed = differentiable<[Tensor], Reduced>("sum", {
  vjp: ({ inputs: [x], attributes }, g) => [scaled(g, attributes.scale).expand(x.shape)],
  jvp: ({ attributes }, [t]) => t && sumKept("sum", t, attributes),
});

const largest = differentiable<[Tensor], readonly number[]>("max", {
  vjp({ inputs: [x], output }, g) {
    const { mask, count } = ties(x, output);
    return [where(mask, div(g, count), 0)];
  },
  jvp({ inputs: [x], output, attributes: axes }, [t]) {
    if (t === undefined) return undefined;
    const { mask, count } = ties(x, output);
    return div(sumKept("max", where(mask, t, 0), { axes, scale: 1 }), count);
  },
});

/** Where x has its largest value, and how often: those elements share the derivative. */
function ties(x: Tensor, y: Tensor): { mask: Tensor<"bool">; count: Tensor } {
  const mask = compare("max", "equal", x, y);
  const axes = x.shape.flatMap((length, axis) => (y.shape[axis] === length ? [] : [axis]));
  return { mask, count: reduce("max", "sum", mask.toDType(x.dtype as "float32"), axes) };
}

function scaled(x: Tensor, factor: number): Tensor {
  return factor === 1 ? x : scale(x, factor);
}

function sumKept(fn: string, x: Tensor, attributes: Reduced): Tensor {
  return summed([x], reduce(fn, "sum", x, attributes.axes, attributes.scale), attributes);
}

function dropped(y: Tensor, axes: readonly number[], options: ReduceOptions): Tensor {
  if (options.keepDims === true || axes.length === 0) return y;
  return y.reshape(y.shape.filter((_, axis) => !axes.includes(axis)));
}

function lengthOf(x: Tensor, axes: readonly number[]): number {
  return axes.reduce((product, axis) => product * (x.shape[axis] ?? 1), 1);
}

/** Sum over axes (default all). float64 accumulation. */
export function sum(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const list = axesOf("sum", x.rank, axes);
  return dropped(sumKept("sum", x, { axes: list, scale: 1 }), list, options);
}

/** Mean over axes (default all); NaN when there is nothing to take it of. */
export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const list = axesOf("mean", x.rank, axes);
  return dropped(sumKept("mean", x, { axes: list, scale: 1 / lengthOf(x, list) }), list, options);
}

/** Variance over axes (default all), divided by `n - correction`; correction is 0 unless given. */
export function variance(
  x: Tensor,
  axes?: Axes,
  options: ReduceOptions & { readonly correction?: number | undefined } = {},
): Tensor {
  const list = axesOf("variance", x.rank, axes);
  const centred = sub(x, mean(x, list, { keepDims: true }));
  const factor = 1 / (lengthOf(x, list) - (options.correction ?? 0));
  return dropped(
    sumKept("variance", square(centred), { axes: list, scale: factor }),
    list,
    options,
  );
}

/** Largest value over axes (default all). Equal largest elements share the derivative. */
export function max(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const fn = "max";
  const list = axesOf(fn, x.rank, axes);
  if (lengthOf(x, list) === 0)
    throw new ArgumentError(expected(fn, "at least one element", "x", x.shape));
  return dropped(largest([x], reduce(fn, "max", x, list), list), list, options);
}

/** Smallest value over axes (default all); see `max`. */
export function min(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  return neg(max(neg(x), axes, options));
}

/** `log(sum(e^x))` over axes (default all), without overflow. */
export function logSumExp(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const list = axesOf("logSumExp", x.rank, axes);
  const shift = reduce("logSumExp", "max", x, list); // a constant: its derivative cancels
  const y = add(log(sum(exp(sub(x, shift)), list, { keepDims: true })), shift);
  return dropped(y, list, options);
}

/** x summed over what broadcasting repeats, down to `shape`. */
export function sumTo(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const added = x.rank - shape.length;
  const axes = x.shape.flatMap((length, i) =>
    i < added || (shape[i - added] === 1 && length !== 1) ? [i] : [],
  );
  return reshape(sumKept("sum", x, { axes, scale: 1 }), shape);
}
