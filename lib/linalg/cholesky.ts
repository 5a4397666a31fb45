import type { CallOptions } from "../binding/index.js";
import {
  choleskyInverseOperation,
  choleskyOperation,
  solveTriangularOperation,
  type CholeskyOptions,
  type InverseResult,
  type SolveTriangularOptions,
} from "../ops/cholesky.js";
import { run, runSync } from "../ops/operation.js";
import type { DType, Tensor } from "../tensor/index.js";

/**
 * Cholesky factor: `A + shift I = L L^T`, L lower triangular with a positive diagonal.
 *
 * @param a `[..., n, n]` float32 or float64, symmetric: no |a_ij - a_ji| above 256 eps max |a|.
 * @returns L, `[..., n, n]`, its upper half zero; the caller disposes it.
 * @throws NumericalError `NOT_POSITIVE_DEFINITE` (details.index: item n + order - 1 of the first leading minor that is not
 *   positive, item the matrix's place in the batch), `NON_FINITE` (details.index: flat position); ArgumentError when a is not
 *   symmetric; ShapeError, DTypeError, DisposedError.
 * Cost: n^3/3 flops a matrix. The factor is that of a matrix within n eps |A| of A.
 */
export async function cholesky<D extends DType>(
  a: Tensor<D>,
  options: CholeskyOptions & CallOptions = {},
): Promise<Tensor<D>> {
  return await run(choleskyOperation("cholesky", a, options), options);
}

/** Like `cholesky`, blocking. */
export function choleskySync<D extends DType>(
  a: Tensor<D>,
  options: CholeskyOptions = {},
): Tensor<D> {
  return runSync(choleskyOperation("choleskySync", a, options));
}

/**
 * The inverse of a positive definite matrix from its Cholesky factor: `(L L^T)^-1`.
 *
 * @param factor L, `[..., n, n]` float32 or float64; only its lower half is read.
 * @returns the inverse, both halves (the caller disposes it), and its residual.
 * @throws NumericalError `SINGULAR` (details.index: row of a zero or NaN on the diagonal, counted over the batch); ShapeError,
 *   DTypeError, DisposedError.
 * Cost: 2 n^3/3 flops a matrix.
 */
export async function choleskyInverse<D extends DType>(
  factor: Tensor<D>,
  options: CallOptions = {},
): Promise<InverseResult<D>> {
  return await run(choleskyInverseOperation("choleskyInverse", factor), options);
}

/** Like `choleskyInverse`, blocking. */
export function choleskyInverseSync<D extends DType>(factor: Tensor<D>): InverseResult<D> {
  return runSync(choleskyInverseOperation("choleskyInverseSync", factor));
}

/**
 * The solution X of `T X = B`, or of `T^T X = B`, for a triangular T.
 *
 * @param triangle T, `[..., n, n]` float32 or float64; the half that `upper` does not name is not read.
 * @param b `[..., n, k]` of the same dtype, device and leading dimensions. NaN and Inf in it go through.
 * @returns X, `[..., n, k]`; the caller disposes it.
 * @throws NumericalError `SINGULAR` (details.index as in `choleskyInverse`); ShapeError, DTypeError, DeviceError, DisposedError.
 * Cost: n^2 k flops a matrix.
 */
export async function solveTriangular<D extends DType>(
  triangle: Tensor<D>,
  b: Tensor<D>,
  options: SolveTriangularOptions & CallOptions = {},
): Promise<Tensor<D>> {
  const fn = "solveTriangular";
  return await run(solveTriangularOperation(fn, ["triangle", "b"], triangle, b, options), options);
}

/** Like `solveTriangular`, blocking. */
export function solveTriangularSync<D extends DType>(
  triangle: Tensor<D>,
  b: Tensor<D>,
  options: SolveTriangularOptions = {},
): Tensor<D> {
  const fn = "solveTriangularSync";
  return runSync(solveTriangularOperation(fn, ["triangle", "b"], triangle, b, options));
}

/**
 * The solution X of `A X = B` from the Cholesky factor of A: two triangular solves.
 *
 * @param factor L with A = L L^T, `[..., n, n]`; only its lower half is read.
 * @param b `[..., n, k]` of the same dtype, device and leading dimensions.
 * @returns X, `[..., n, k]`; the caller disposes it.
 * @throws as `solveTriangular`.
 * Cost: 2 n^2 k flops a matrix.
 */
export async function choleskySolve<D extends DType>(
  factor: Tensor<D>,
  b: Tensor<D>,
  options: CallOptions = {},
): Promise<Tensor<D>> {
  const fn = "choleskySolve";
  const names = ["factor", "b"] as const;
  const half = await run(solveTriangularOperation(fn, names, factor, b, {}), options);
  try {
    const second = solveTriangularOperation(fn, names, factor, half, { transposed: true });
    return await run(second, options);
  } finally {
    half.dispose();
  }
}

/** Like `choleskySolve`, blocking. */
export function choleskySolveSync<D extends DType>(factor: Tensor<D>, b: Tensor<D>): Tensor<D> {
  const fn = "choleskySolveSync";
  const names = ["factor", "b"] as const;
  const half = runSync(solveTriangularOperation(fn, names, factor, b, {}));
  try {
    return runSync(solveTriangularOperation(fn, names, factor, half, { transposed: true }));
  } finally {
    half.dispose();
  }
}
