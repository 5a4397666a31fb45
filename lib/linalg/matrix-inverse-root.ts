import type { CallOptions } from "../binding/index.js";
import {
  matrixInverseRootOperation,
  type MatrixInverseRootOptions,
} from "../ops/matrix-inverse-root.js";
import { failureOf, readReports, type MatrixReport } from "../ops/matrix-report.js";
import { run, runSync } from "../ops/operation.js";
import type { DType, Tensor } from "../tensor/index.js";

export interface InverseRootOptions extends MatrixInverseRootOptions {
  /**
   * What a matrix without a root does: `throw` (default) makes an error of the first one, `report` leaves it to the reports, so
   * that the others of the batch are not lost.
   */
  readonly onFailure?: "throw" | "report" | undefined;
}

export interface InverseRootResult<D extends DType> {
  /** `[..., n, n]`, symmetric; NaN where a matrix has no root (`onFailure: "report"`). */
  readonly root: Tensor<D>;
  /** `[..., n, n]`, one a column; of method eigh only. */
  readonly eigenvectors: Tensor<D> | undefined;
  /** `|X^p (A + ridge lambda_max I) - I| / sqrt(n)` of the worst matrix, from A and X; see `MatrixReport`. */
  readonly residual: number;
  /** Whether every matrix did. */
  readonly converged: boolean;
  /** The most that a matrix took. */
  readonly iterations: number;
  /** One a matrix, in the order of the batch. */
  readonly reports: readonly MatrixReport[];
}

interface Buffers<D extends DType> {
  readonly root: Tensor<D>;
  readonly vectors: Tensor<D>;
  readonly report: Tensor<"float64">;
}

function resultOf<D extends DType>(
  fn: string,
  { root, vectors, report }: Buffers<D>,
  numbers: Float64Array,
  onFailure: InverseRootOptions["onFailure"],
): InverseRootResult<D> {
  report.dispose();
  const reports = readReports(numbers);
  const failure = onFailure === "report" ? undefined : failureOf(fn, "the inverse root", reports);
  const unused = vectors.rank === 1;
  if (failure || unused) vectors.dispose();
  if (failure) {
    root.dispose();
    throw failure;
  }
  return {
    root,
    eigenvectors: unused ? undefined : vectors,
    residual: reports.reduce((worst, { residual }) => Math.max(worst, residual), 0),
    converged: reports.every(({ converged }) => converged),
    iterations: reports.reduce((most, { iterations }) => Math.max(most, iterations), 0),
    reports,
  };
}

/**
 * Inverse p-th root of a positive definite matrix: `X = (A + ridge lambda_max I)^(-1/p)`.
 *
 * A 1 x 1 matrix a gives (a + ridge a)^(-1/p). `warmStart` takes eigenvectors, never a root: a root does not commute with the
 * new matrix, and an iteration continued from it reports convergence while X^p A is far from I. The eigenvectors given are
 * not brought up to date; when the residual has grown too much, compute new ones with method "eigh".
 *
 * @param a `[..., n, n]` float32 or float64, symmetric: no |a_ij - a_ji| above 256 eps max |a|. The matrices of a batch are
 *   computed side by side.
 * @param p 1 to 8.
 * @returns the root and how it went; the caller disposes `root` and `eigenvectors`. Every residual is computed from A and X.
 * @throws NumericalError `NOT_POSITIVE_DEFINITE`, `NON_FINITE`, `NOT_CONVERGED` (the residual is above the tolerance), with
 *   details.matrix, details.residual and details.iterations; ArgumentError when a is not symmetric or an option is wrong;
 *   ShapeError, DTypeError, DeviceError, DisposedError.
 * Cost: 10/3 n^3 flops (tridiagonal), 11 n^3 (eigh), 5 n^3 (warm start), n^3 for each of 20 to 60 products (polynomial,
 * newton). The error of a float32 root is about 1e-7 of the condition number of the damped matrix, whatever the method.
 * Sources: Iannazzo, 2006 (coupled Newton); Amsel et al., 2025, whose polynomials for square roots are extended to p-th roots
 * and fitted to the spectrum by Lanczos steps; ours: the tridiagonal route and the warm start.
 */
export async function matrixInverseRoot<D extends DType>(
  a: Tensor<D>,
  p: number,
  options: InverseRootOptions & CallOptions = {},
): Promise<InverseRootResult<D>> {
  const fn = "matrixInverseRoot";
  const buffers = await run(matrixInverseRootOperation(fn, a, p, options), options);
  return resultOf(fn, buffers, await buffers.report.data(), options.onFailure);
}

/** Like `matrixInverseRoot`, blocking. */
export function matrixInverseRootSync<D extends DType>(
  a: Tensor<D>,
  p: number,
  options: InverseRootOptions = {},
): InverseRootResult<D> {
  const fn = "matrixInverseRootSync";
  const buffers = runSync(matrixInverseRootOperation(fn, a, p, options));
  return resultOf(fn, buffers, buffers.report.dataSync(), options.onFailure);
}
