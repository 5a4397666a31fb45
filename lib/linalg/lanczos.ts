import { ArgumentError, expected } from "../errors.js";
import { checkInteger, checkNumber } from "../ops/check.js";
import { vectorNorm } from "../ops/vector-reduce.js";
import { combineRows } from "../ops/vector-update.js";
import { Tensor } from "../tensor/index.js";
import {
  type Iteration,
  type IterationOptions,
  type LinearOperator,
  type LinearOperatorSync,
  type Real,
  type StartOptions,
  checkFiniteNumber,
  copyScaled,
  describeStart,
  drive,
  driveSync,
  orthogonalizeAgainst,
  product,
  read,
  readNumber,
  row,
} from "./iteration.js";
import { tridiagonalEigen } from "./tridiagonal.js";

export interface LanczosOptions extends StartOptions {
  /** Order m: at most so many products. Default 30; at most n are made. */
  readonly steps?: number | undefined;
  /** Of the basis, in which vectors are made orthogonal. Default float64, whatever the operator computes in. */
  readonly dtype?: Real | undefined;
  /** Ritz vectors to return, of so many largest and smallest values. Default none. */
  readonly vectors?: { readonly largest?: number; readonly smallest?: number } | undefined;
  /** A new vector shorter than this times the norm of the matrix so far ends the iteration. Default 1e-12. */
  readonly tolerance?: number | undefined;
}

export interface LanczosResult {
  /** Diagonal of the tridiagonal matrix T, one for each product made. */
  readonly alphas: Float64Array;
  /** Beside the diagonal; one less. */
  readonly betas: Float64Array;
  /** Ritz values, ascending. */
  readonly values: Float64Array;
  /** Squared first components of T's eigenvectors: the weights of Gauss quadrature at the values. They sum to 1. */
  readonly weights: Float64Array;
  /** `|A y - value y|` of each Ritz pair: an eigenvalue lies within it of the value. */
  readonly residuals: Float64Array;
  /** An invariant subspace was found: the values are eigenvalues, and no more can be found from this start. */
  readonly exhausted: boolean;
  /** `[smallest + largest, n]` Ritz vectors in the order of their values, all there are if fewer; the caller disposes it. */
  readonly vectors: Tensor | undefined;
}

function* iterate(
  fn: string,
  operator: LinearOperator,
  options: LanczosOptions,
): Iteration<LanczosResult> {
  const { steps = 30, dtype = "float64", tolerance = 1e-12 } = options;
  const { smallest = 0, largest = 0 } = options.vectors ?? {};
  checkInteger(fn, "steps", steps, 1, 2 ** 20);
  checkInteger(fn, "vectors.smallest", smallest, 0, steps);
  checkInteger(fn, "vectors.largest", largest, 0, steps);
  checkNumber(fn, "tolerance", tolerance, ">= 0", (value) => value >= 0);
  const { size, input, device, first } = describeStart(fn, operator, options);
  const order = Math.min(steps, size);
  if (smallest + largest > order) {
    const what = `at most ${order} Ritz vectors, the order,`;
    throw new ArgumentError(expected(fn, what, "vectors", smallest + largest));
  }
  using basis = Tensor.empty([order, size], { dtype, device });
  const alphas: number[] = [];
  const betas: number[] = [];
  let exhausted = order === 0;
  let last = 0; // |w| after the last product
  if (order > 0) {
    using start = first(dtype);
    const length = yield* readNumber(vectorNorm(start));
    checkFiniteNumber(fn, "the start vector", 0, length);
    if (length === 0)
      throw new ArgumentError(expected(fn, "a vector that is not zero", "start", "0"));
    using target = row(basis, 0);
    copyScaled(1 / length, start, target);
  }
  for (let j = 0, norm = 0; j < order && !exhausted; ++j) {
    using v = row(basis, j);
    using w = yield* product(fn, operator, v, input, dtype);
    // Twice is enough: what the first pass leaves of old directions is rounding, and the second takes that away.
    const once = orthogonalizeAgainst(basis, j + 1, w);
    const again = orthogonalizeAgainst(basis, j + 1, w);
    const [a, b, c] = yield* read(once, again, vectorNorm(w));
    const alpha = (a?.[j] ?? Number.NaN) + (b?.[j] ?? Number.NaN);
    last = c?.[0] ?? Number.NaN;
    checkFiniteNumber(fn, "the product", j, alpha + last);
    alphas.push(alpha);
    norm = Math.max(norm, Math.abs(alpha) + last + (betas.at(-1) ?? 0));
    exhausted = last <= tolerance * norm;
    if (exhausted || j + 1 === order) continue;
    betas.push(last);
    using next = row(basis, j + 1);
    copyScaled(1 / last, w, next);
  }
  // A basis of the whole space leaves nothing but rounding.
  if (alphas.length === size) exhausted = true;
  const m = alphas.length;
  const { values, vectors } = tridiagonalEigen(alphas, betas);
  const component = (i: number, k: number) => vectors[i * m + k] ?? 0;
  const wanted = Array.from({ length: m }, (_, k) => k).filter(
    (k) => k < smallest || k >= m - largest,
  );
  return {
    alphas: Float64Array.from(alphas),
    betas: Float64Array.from(betas),
    values,
    weights: Float64Array.from(values, (_, k) => component(0, k) ** 2),
    residuals: Float64Array.from(values, (_, k) => Math.abs(last * component(m - 1, k))),
    exhausted,
    vectors:
      options.vectors === undefined
        ? undefined
        : combine(
            basis,
            m,
            wanted.map((k) => Array.from({ length: m }, (_, i) => component(i, k))),
          ),
  };
}

/** Rows of coefficients times the first `count` rows of the basis. */
function combine(
  basis: Tensor,
  count: number,
  coefficients: readonly (readonly number[])[],
): Tensor {
  const flat = Float64Array.from(coefficients.flat());
  const shape = [coefficients.length, basis.shape[1] ?? 0];
  const result = Tensor.empty(shape, { dtype: basis.dtype, device: basis.device });
  using factors = Tensor.from(flat, [coefficients.length, count], { device: basis.device });
  using rows = basis.slice(0, 0, count);
  combineRows(factors, rows, result);
  return result;
}

/**
 * The Lanczos iteration for a symmetric operator A, every new vector made orthogonal to all before it, twice: Ritz values at
 * both ends of the spectrum, their vectors, and the quadrature weights of the start vector.
 *
 * @param operator a symmetric matrix or a function, see `LinearOperator`; symmetry is not checked.
 * @throws ArgumentError, ShapeError, DTypeError, DisposedError, NumericalError (`NON_FINITE`, details.iteration), what the
 *   operator throws
 * Cost: m products, 4 m^2 n flops, m n numbers of `dtype`. Source: Golub and Van Loan, Matrix Computations, 10.1; the order of
 * the pairs and the end at an invariant subspace are ours.
 */
export async function lanczos(
  operator: LinearOperator,
  options: LanczosOptions & IterationOptions = {},
): Promise<LanczosResult> {
  const fn = "lanczos";
  return await drive(iterate(fn, operator, options), options);
}

/** Like `lanczos`, blocking. */
export function lanczosSync(
  operator: LinearOperatorSync,
  options: LanczosOptions = {},
): LanczosResult {
  const fn = "lanczosSync";
  return driveSync(fn, iterate(fn, operator, options));
}
