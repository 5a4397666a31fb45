import type { CallOptions } from "../binding/index.js";
import { eighOperation, type EighResult } from "../ops/eigh.js";
import { run, runSync } from "../ops/operation.js";
import type { DType, Tensor } from "../tensor/index.js";

/**
 * Eigenvalues and eigenvectors of a symmetric matrix: `A = V diag(values) V^T`.
 *
 * @param a `[..., n, n]` float32 or float64, symmetric: no |a_ij - a_ji| above 256 eps max |a|;
 *   n at most 46338, where LAPACK's count of its workspace ends.
 * @param options an abort rejects at once; the library calls behind one matrix cannot stop and finish in the background.
 * @returns eigenvalues, eigenvectors (the caller disposes both) and the residual.
 * @throws NumericalError `NON_FINITE` (details.index: flat position), `NOT_CONVERGED` (details.index: matrix); ArgumentError
 *   when a is not symmetric; ShapeError, DTypeError, DisposedError.
 * Cost: at most 9 n^3 flops a matrix. Each eigenvalue is within n eps |A| of one of A's. Source: LAPACK's reduction to
 * tridiagonal form and divide and conquer; the eigenvectors are brought back by our own blocked reflections.
 */
export async function eigh<D extends DType>(
  a: Tensor<D>,
  options: CallOptions = {},
): Promise<EighResult<D>> {
  return await run(eighOperation("eigh", a), options);
}

/** Like `eigh`, blocking. */
export function eighSync<D extends DType>(a: Tensor<D>): EighResult<D> {
  return runSync(eighOperation("eighSync", a));
}
