import { add, concat, matmul, mul, reciprocal, reshape, affine } from "../autodiff/index.js";
import { run } from "../binding/index.js";
import { biasOf, groupsOf, type MatrixLayer } from "../curvature/layer-rows.js";
import { OsculateError } from "../errors.js";
import { cholesky, choleskyInverse, eigh } from "../linalg/index.js";
import { Embedding } from "../nn/index.js";
import { diagonal } from "../ops/diagonal.js";
import { keep, scope, Tensor } from "../tensor/index.js";

/** The two factors of a layer: `[d, d]`, `[groups, d, d]`, or of an Embedding's inputs the diagonal `[count]`. */
export interface Factors {
  readonly inputs: Tensor;
  readonly outputs: Tensor;
}

/**
 * How damping is added. "factored": to both factors, `A + pi sqrt(damping) I` and `G + sqrt(damping) / pi I` with pi^2 the
 * ratio of their mean diagonals; inverses by Cholesky. "exact": to their product, in eigenvectors.
 */
export type DampingMode = "factored" | "exact";

/** Keys of what a gradient is multiplied by, and how each is shaped; see `precondition`. */
export const preconditionerKeys = {
  factored: ["inputInverse", "outputInverse"],
  exact: ["inputBasis", "outputBasis", "weights"],
} as const;

/** Shifts tried when a factor is not positive definite, relative to its mean diagonal. */
const ladder = [0, 1e-10, 1e-8, 1e-6, 1e-4];
/** Smallest eigenvalue kept, relative to the largest, when no shift helped. */
const floor = 1e-6;

/** Views of the matrices of a factor; the caller disposes them. */
function matricesOf(factor: Tensor): Tensor[] {
  if (factor.rank < 3) return [scope(() => factor.reshape(factor.shape))];
  const [groups = 0, ...matrix] = factor.shape;
  return Array.from({ length: groups }, (_, g) =>
    scope(() => factor.slice(0, g, g + 1).reshape(matrix)),
  );
}

/** Results for each matrix, put together in the shape of the factor; takes them over. */
function together(parts: readonly Tensor[], shape: readonly number[]): Tensor {
  const joined = scope(() => {
    const rows = parts.map((part) => part.reshape([1, ...part.shape]));
    return reshape(concat(rows), shape);
  });
  for (const part of parts) part.dispose();
  return keep(joined);
}

/** Mean of the diagonal of each matrix; of a diagonal its mean. NaN and Inf anywhere in `X^T X` show here. */
async function meanDiagonals(fn: string, factor: Tensor): Promise<number[]> {
  const mean = (values: ArrayLike<number>) =>
    Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;
  if (factor.rank === 1) return [mean((await factor.data()) as Float32Array)];
  const matrices = matricesOf(factor);
  try {
    return await Promise.all(matrices.map(async (one) => mean(await run(diagonal(fn, one)))));
  } finally {
    for (const one of matrices) one.dispose();
  }
}

/** `(factor + shift I)^-1`; of a diagonal element by element. */
async function inverse(matrix: Tensor, shift: number, mean: number): Promise<Tensor> {
  if (matrix.rank === 1) return scope(() => reciprocal(affine(matrix, 1, shift)));
  for (const relative of ladder) {
    try {
      using factor = await cholesky(matrix, { shift: shift + relative * mean });
      return (await choleskyInverse(factor)).inverse;
    } catch (error) {
      const singular =
        error instanceof OsculateError &&
        ["NOT_POSITIVE_DEFINITE", "SINGULAR"].includes(error.code);
      if (!singular) throw error;
    }
  }
  const { values, vectors } = await eigh(matrix);
  const numbers = Array.from((await values.data()) as Float32Array, (value) => value + shift);
  const least = floor * Math.max(...numbers);
  using inverses = Tensor.from(
    numbers.map((value) => 1 / Math.max(value, least)),
    [numbers.length],
    {
      device: matrix.device,
    },
  );
  const result = scope(() => matmul(mul(vectors, inverses), vectors.transpose()));
  values.dispose();
  vectors.dispose();
  return result;
}

/** The unit matrix or ones: what leaves a gradient as it is. */
function identity(matrix: Tensor): Tensor {
  const n = matrix.shape.at(-1) ?? 0;
  const values = new Float32Array(matrix.rank === 1 ? n : n * n);
  if (matrix.rank === 1) values.fill(1);
  else for (let i = 0; i < n; ++i) values[i * n + i] = 1;
  return Tensor.from(values, matrix.shape, { device: matrix.device });
}

/** Eigenvalues, not below zero, and vectors of a factor's matrix; a diagonal is its own eigenvalues. */
async function eigen(matrix: Tensor): Promise<{ values: number[]; vectors: Tensor }> {
  if (matrix.rank === 1) {
    const values = Array.from((await matrix.data()) as Float32Array);
    return { values, vectors: identity(matrix) };
  }
  const { values, vectors } = await eigh(matrix);
  const numbers = Array.from((await values.data()) as Float32Array, (value) => Math.max(value, 0));
  values.dispose();
  return { values: numbers, vectors };
}

/**
 * What a layer's gradient is multiplied by, by the keys of `preconditionerKeys`; new tensors, which the caller owns. A layer
 * whose G is zero keeps its gradient.
 *
 * Cost: of n x n factors n^3 flops ("factored") or about 9 n^3 ("exact").
 */
export async function preconditioner(
  fn: string,
  { inputs, outputs }: Factors,
  damping: number,
  mode: DampingMode,
): Promise<Tensor[]> {
  const [left, right] = [await meanDiagonals(fn, inputs), await meanDiagonals(fn, outputs)];
  const [ins, outs] = [matricesOf(inputs), matricesOf(outputs)];
  const made: Tensor[][] = preconditionerKeys[mode].map(() => []);
  try {
    for (const [g, A] of ins.entries()) {
      const [G, meanA, meanG] = [outs[g] ?? A, left[g] ?? 0, right[g] ?? 0];
      const parts = await (mode === "factored" ? factored : exact)(A, G, meanA, meanG, damping);
      parts.forEach((part, i) => made[i]?.push(part));
    }
    const groups = inputs.rank === 3 ? [ins.length] : [];
    const weights = [...groups, outputs.shape.at(-1) ?? 0, inputs.shape.at(-1) ?? 0];
    const shapes = [inputs.shape, outputs.shape, weights];
    return made.map((parts, i) => together(parts, shapes[i] ?? []));
  } catch (error) {
    for (const part of made.flat()) part.dispose();
    throw error;
  } finally {
    for (const view of [...ins, ...outs]) view.dispose();
  }
}

type Make = (
  A: Tensor,
  G: Tensor,
  meanA: number,
  meanG: number,
  damping: number,
) => Promise<Tensor[]>;

const factored: Make = async (A, G, meanA, meanG, damping) => {
  if (!(meanA > 0 && meanG > 0)) return [identity(A), identity(G)];
  const pi = Math.sqrt(meanA / meanG);
  const root = Math.sqrt(damping);
  const inputInverse = await inverse(A, pi * root, meanA);
  try {
    return [inputInverse, await inverse(G, root / pi, meanG)];
  } catch (error) {
    inputInverse.dispose();
    throw error;
  }
};

const exact: Make = async (A, G, meanA, meanG, damping) => {
  const [n, o] = [A.shape.at(-1) ?? 0, G.shape.at(-1) ?? 0];
  const dead = !(meanA > 0 && meanG > 0);
  if (dead) {
    const ones = new Float32Array(o * n).fill(1);
    return [identity(A), identity(G), Tensor.from(ones, [o, n], { device: A.device })];
  }
  const left = await eigen(A);
  try {
    const right = await eigen(G);
    const weights = Float32Array.from({ length: o * n }, (_, k) => {
      const [a, g] = [left.values[k % n] ?? 0, right.values[Math.floor(k / n)] ?? 0];
      return 1 / (a * g + damping);
    });
    return [left.vectors, right.vectors, Tensor.from(weights, [o, n], { device: A.device })];
  } catch (error) {
    left.vectors.dispose();
    throw error;
  }
};

/** `G^-1 grad A^-1` of a gradient `[..., outputs, inputs]`, by what `preconditioner` made. */
export function precondition(
  gradient: Tensor,
  [left, right, weights]: readonly (Tensor | undefined)[],
): Tensor {
  if (left === undefined || right === undefined) return gradient;
  const times = (x: Tensor, basis: Tensor) => (basis.rank === 1 ? mul(x, basis) : matmul(x, basis));
  if (weights === undefined) return times(matmul(right, gradient), left);
  const turned = mul(times(matmul(right.transpose(), gradient), left), weights);
  return times(matmul(right, turned), left.rank === 1 ? left : left.transpose());
}

/** The gradients of weight and bias as `[outputs, inputs (+ 1)]`, or `[groups, ...]`; of an Embedding `[width, count]`. */
export function gradientMatrix(
  layer: MatrixLayer,
  weight: Tensor,
  bias: Tensor | undefined,
): Tensor {
  const groups = groupsOf(layer);
  if (biasOf(layer) === undefined && weight.rank === 2 && groups === 1)
    return layer instanceof Embedding ? weight.transpose() : weight;
  const outputs = (weight.shape[0] ?? 0) / groups;
  const matrix = reshape(weight, [groups, outputs, -1]);
  const whole =
    bias === undefined ? matrix : concat([matrix, reshape(bias, [groups, outputs, 1])], 2);
  return groups === 1 ? reshape(whole, whole.shape.slice(1)) : whole;
}

/** The inverse of `gradientMatrix`. */
export function gradientParts(
  layer: MatrixLayer,
  matrix: Tensor,
): { readonly weight: Tensor; readonly bias: Tensor | undefined } {
  if (layer instanceof Embedding)
    return { weight: matrix.transpose().contiguous(), bias: undefined };
  const bias = biasOf(layer);
  const last = matrix.rank - 1;
  const inputs = (matrix.shape[last] ?? 0) - (bias === undefined ? 0 : 1);
  return {
    weight: reshape(matrix.slice(last, 0, inputs), layer.weight.shape),
    bias: bias && reshape(matrix.slice(last, inputs, inputs + 1), bias.shape),
  };
}

/** `decay old + (1 - decay) fresh`, or the fresh one alone at first; a new tensor. */
export function average(old: Tensor | undefined, fresh: Tensor, decay: number): Tensor {
  return keep(
    scope(() =>
      old === undefined
        ? fresh.contiguous()
        : add(affine(old, decay, 0), affine(fresh, 1 - decay, 0)),
    ),
  );
}
