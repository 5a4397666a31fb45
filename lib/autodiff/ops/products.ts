import { ShapeError, expected } from "../../errors.js";
import { matmul as product } from "../../ops/matmul.js";
import { checkReal } from "../../ops/broadcast.js";
import type { Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { add, plus } from "./arithmetic.js";
import { sumTo } from "./reductions.js";
import { reshape } from "./views.js";

const multiplied = differentiable<[Tensor, Tensor], undefined>("matmul", {
  vjp: ({ inputs: [a, b] }, g, [needA, needB]) => [
    needA ? sumTo(multiply(g, b.transpose()), a.shape) : undefined,
    needB ? sumTo(multiply(a.transpose(), g), b.shape) : undefined,
  ],
  jvp: ({ inputs: [a, b] }, [ta, tb]) => plus(ta && multiply(ta, b), tb && multiply(a, tb)),
});

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

function multiply(a: Tensor, b: Tensor): Tensor {
  return multiplied([a, b], product(a, b), undefined);
}

/**
 * Matrix product over any leading dimensions, which broadcast. Transposed views are read as they lie.
 *
 * @param a `[..., m, k]` float32 or float64. @param b `[..., k, n]` of the same dtype.
 * @returns `[..., m, n]`.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  // One product, and one for each derivative, instead of one for each index of the batch.
  if (b.rank === 2 && a.rank > 2 && a.isContiguous && a.shape.at(-1) === b.shape[0]) {
    const rows = a.shape.slice(0, -1);
    const y = multiply(reshape(a, [sizeOf(rows), b.shape[0] ?? 0]), b);
    return reshape(y, [...rows, b.shape[1] ?? 0]);
  }
  return multiply(a, b);
}

/**
 * `x W^T + b`.
 *
 * @param x `[..., in]`. @param weight `[out, in]`. @param bias `[out]`, optional.
 * @returns `[..., out]`.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const fn = "linear";
  checkReal(fn, "x", x);
  checkReal(fn, "weight", weight);
  const inputs = x.shape.at(-1);
  if (weight.rank !== 2 || x.rank === 0 || weight.shape[1] !== inputs)
    throw new ShapeError(expected(fn, `shape [out, ${inputs ?? "in"}]`, "weight", weight.shape));
  const outputs = weight.shape[0] ?? 0;
  if (bias !== undefined && (bias.rank !== 1 || bias.shape[0] !== outputs))
    throw new ShapeError(expected(fn, `shape [${outputs}]`, "bias", bias.shape));
  const rows = x.rank === 2 ? x : reshape(x, [sizeOf(x.shape.slice(0, -1)), inputs ?? 0]);
  const y = multiply(rows, weight.transpose());
  const shifted = bias === undefined ? y : add(y, bias);
  return x.rank === 2 ? shifted : reshape(shifted, [...x.shape.slice(0, -1), outputs]);
}
