/** The linear algebra of m gradients as rows of G: F = damp I + G^T G / m, so F^-1 = (I - G^T K^-1 G) / damp, K = m damp I + G G^T. */
import type { Task } from "../binding/index.js";
import { NumericalError } from "../errors.js";
import { checkTensor } from "../ops/check.js";
import { choleskyOperation, solveTriangularOperation } from "../ops/cholesky.js";
import { copyInto } from "../ops/copy.js";
import { findNonFiniteTask } from "../ops/find-non-finite.js";
import { matmul } from "../ops/matmul.js";
import { operate } from "../ops/operation-task.js";
import { reduce } from "../ops/reduce.js";
import { unary } from "../ops/unary.js";
import { vectorDot } from "../ops/vector-reduce.js";
import { axpby, combineRows } from "../ops/vector-update.js";
import { Tensor } from "../tensor/index.js";

/** Columns of G that are widened to float64 at a time, in pieces whose products are made side by side. */
const PIECE = 4096;
const PIECES = 16;

/** Checks gradients: `[m, d]`, float32 or float64, finite. */
export function* checkGradients(fn: string, gradients: Tensor, name = "gradients"): Task<void> {
  checkTensor(fn, name, gradients, ["float32", "float64"], ["m", "d"]);
  const { count, index } = yield* findNonFiniteTask(fn, gradients);
  if (count === 0) return;
  const d = gradients.shape[1] ?? 1;
  const place = `[${Math.floor(index / d)}, ${index % d}]`;
  const message = `${fn}: expected finite gradients but ${name} has ${count} NaN or Inf, the first at ${place}`;
  throw new NumericalError("NON_FINITE", message, { details: { index, count } });
}

/** Columns `[from, to)` of G as a float64 copy. */
export function columnsOf(rows: Tensor, from: number, to: number): Tensor<"float64"> {
  using part = rows.slice(1, from, to);
  return part.toDType("float64");
}

/** `G G^T` `[m, m]` of rows `[m, d]`, products and sums in float64. Queued. Cost: 2 d m^2 flops. */
export function rowProducts(fn: string, rows: Tensor): Tensor<"float64"> {
  const [m = 0, d = 0] = rows.shape;
  const products = Tensor.zeros([m, m], { dtype: "float64", device: rows.device });
  const whole = Math.floor(d / PIECE);
  for (let piece = 0; piece < whole; piece += PIECES) {
    const count = Math.min(PIECES, whole - piece);
    using part = columnsOf(rows, piece * PIECE, (piece + count) * PIECE);
    using split = part.reshape([m, count, PIECE]);
    using g = split.transpose(0, 1);
    using across = g.transpose();
    using each = matmul(g, across);
    using sum = reduce(fn, "sum", each, [0]) as Tensor<"float64">;
    using flat = sum.reshape([m, m]);
    axpby(1, flat, 1, products);
  }
  if (whole * PIECE < d) {
    using rest = columnsOf(rows, whole * PIECE, d);
    using across = rest.transpose();
    matmul(rest, across, { beta: 1, out: products });
  }
  return products;
}

/** Lower Cholesky factor of `products + m damp I`, `[..., m, m]`. */
export function* factorOf(
  fn: string,
  products: Tensor<"float64">,
  damp: number,
): Task<Tensor<"float64">> {
  const m = products.shape.at(-1) ?? 0;
  return yield* operate(choleskyOperation(fn, products, { shift: m * damp }));
}

/** The inverse of a lower triangular factor `[m, m]`. */
export function* lowerInverse(fn: string, factor: Tensor<"float64">): Task<Tensor<"float64">> {
  const m = factor.shape[0] ?? 0;
  const ones = Float64Array.from({ length: m * m }, (_, at) => Number(at % (m + 1) === 0));
  using identity = Tensor.from(ones, [m, m], { device: factor.device });
  const names = ["factor", "identity"] as const;
  return yield* operate(solveTriangularOperation(fn, names, factor, identity, {}));
}

/**
 * `F^-1 x` of x `[d]`, in the dtype of x and rows; dots and sums in float64. Queued. Cost: 4 m d flops, two passes over the rows.
 *
 * @param inverse L^-1, `L L^T = K`.
 */
export function inverseProduct(
  rows: Tensor,
  inverse: Tensor<"float64">,
  damp: number,
  x: Tensor,
): Tensor {
  const m = rows.shape[0] ?? 0;
  using dots = vectorDot(rows, x);
  using column = dots.reshape([m, 1]);
  using half = matmul(inverse, column);
  using back = inverse.transpose();
  using solved = matmul(back, half);
  using factors = solved.reshape([1, m]);
  const result = x.contiguous();
  using line = result.reshape([1, x.size]);
  combineRows(factors, rows, line, { alpha: -1 / damp, beta: 1 / damp });
  return result;
}

/** `diag(F^-1)` `[d]` float64, at least 1e-12/damp, where rounding would have it negative. Queued. Cost: 2 m^2 d flops. */
export function inverseDiagonal(
  fn: string,
  rows: Tensor,
  inverse: Tensor<"float64">,
  damp: number,
): Tensor<"float64"> {
  const d = rows.shape[1] ?? 0;
  const diagonal = Tensor.empty([d], { dtype: "float64", device: rows.device });
  for (let from = 0; from < d; from += PIECE * PIECES) {
    const to = Math.min(d, from + PIECE * PIECES);
    using part = columnsOf(rows, from, to);
    using z = matmul(inverse, part);
    using values = diagonalOf(fn, z, damp);
    using line = values.reshape([to - from]);
    using place = diagonal.slice(0, from, to);
    copyInto(fn, line, place);
  }
  return diagonal;
}

/** `(1 - sum_i Z_ij^2) / damp` over the second last axis of Z = L^-1 G, which stays as 1. */
export function diagonalOf(fn: string, z: Tensor<"float64">, damp: number): Tensor {
  using squares = unary(fn, "square", z);
  using sums = reduce(fn, "sum", squares, [z.rank - 2], -1 / damp);
  using all = unary(fn, "affine", sums, { alpha: 1, beta: 1 / damp });
  return unary(fn, "clamp", all, { alpha: 1e-12 / damp, beta: Infinity });
}

/** `[F^-1]_ab` from columns a and b of Z = L^-1 G, each of m elements. */
export async function elementOf(
  [za, zb]: readonly [Tensor<"float64">, Tensor<"float64">],
  same: boolean,
  damp: number,
): Promise<number> {
  using one = za.contiguous();
  using two = zb.contiguous();
  using x = one.reshape([one.size]);
  using y = two.reshape([two.size]);
  using dot = vectorDot(x, y);
  return (Number(same) - Number((await dot.data())[0])) / damp;
}
