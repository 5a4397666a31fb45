import { ArgumentError, expected } from "../errors.js";
import { checkInteger, checkNumber } from "../ops/check.js";
import { vectorDot, vectorNorm } from "../ops/vector-reduce.js";
import { axpby } from "../ops/vector-update.js";
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

export interface PowerIterationOptions extends StartOptions {
  /** How many eigenvalues, by falling magnitude. Default 1. */
  readonly count?: number | undefined;
  /** Products for each of them at most. Default 100. */
  readonly maxIterations?: number | undefined;
  /** Ends when the Rayleigh quotient changes by less than this, relatively. Default 1e-3. */
  readonly tolerance?: number | undefined;
  /** Of the vectors. Default float64. */
  readonly dtype?: Real | undefined;
}

export interface PowerIterationResult {
  /** Rayleigh quotients, the newest of each; of either sign. */
  readonly values: Float64Array;
  /** `|A v - value v|` with the v returned. */
  readonly residuals: Float64Array;
  /** Products made for each. */
  readonly iterations: readonly number[];
  /** Whether the quotient settled; its error is of second order in the residual. */
  readonly converged: readonly boolean[];
  /** `[count, n]` of unit length; the caller disposes it. */
  readonly vectors: Tensor;
}

/** Added to the quotient that a change is relative to, as in the published code. */
const guard = 1e-6;

function* iterate(
  fn: string,
  operator: LinearOperator,
  options: PowerIterationOptions,
): Iteration<PowerIterationResult> {
  const { count = 1, maxIterations = 100, tolerance = 1e-3, dtype = "float64" } = options;
  checkInteger(fn, "maxIterations", maxIterations, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "tolerance", tolerance, "> 0", (value) => value > 0);
  const { size, input, device, first } = describeStart(fn, operator, options);
  checkInteger(fn, "count", count, 0, size);
  const values = new Float64Array(count);
  const residuals = new Float64Array(count);
  const iterations: number[] = [];
  const converged: boolean[] = [];
  const vectors = Tensor.empty([count, size], { dtype, device });
  try {
    for (let k = 0; k < count; ++k) {
      using v = row(vectors, k);
      using w = first(dtype, k); // what v is made of in each pass
      let value = 0;
      let settled = false;
      let pass = 0;
      for (; pass < maxIterations && !settled; ++pass) {
        if (k > 0) orthogonalizeAgainst(vectors, k, w).dispose();
        const length = yield* readNumber(vectorNorm(w));
        checkFiniteNumber(fn, "the vector", pass, length);
        if (length === 0) {
          if (pass === 0)
            throw new ArgumentError(expected(fn, "a vector that is not zero", "start", "0"));
          settled = true; // A v = 0: an eigenvector, and v stays as it is
          break;
        }
        copyScaled(1 / length, w, v);
        using hv = yield* product(fn, operator, v, input, dtype);
        const [quotient] = yield* read(vectorDot(v, hv));
        const newest = quotient?.[0] ?? Number.NaN;
        checkFiniteNumber(fn, "the product", pass, newest);
        settled = pass > 0 && Math.abs(value - newest) / (Math.abs(value) + guard) < tolerance;
        value = newest;
        copyScaled(1, hv, w);
        axpby(-value, v, 1, hv);
        residuals[k] = yield* readNumber(vectorNorm(hv));
      }
      values[k] = value;
      iterations.push(pass);
      converged.push(settled);
    }
    return { values, residuals, iterations, converged, vectors };
  } catch (error) {
    vectors.dispose();
    throw error;
  }
}

/**
 * Power iteration with deflation: the eigenvalues of largest magnitude of a symmetric operator, and their vectors. The first begins
 * at `start`, the others at normal numbers.
 *
 * @param operator a symmetric matrix or a function, see `LinearOperator`; symmetry is not checked.
 * @throws ArgumentError, ShapeError, DTypeError, DisposedError, NumericalError (`NON_FINITE`, details.iteration), what the operator
 *   throws. An iteration that does not settle is not an error: see `converged` and `residuals`.
 * Cost: a product a pass. Source: Dong et al., HAWQ, 2019, and PyHessian; unlike these vectors have
 * unit length exactly, and the newest quotient is returned, with the vector it belongs to and its residual.
 */
export async function powerIteration(
  operator: LinearOperator,
  options: PowerIterationOptions & IterationOptions = {},
): Promise<PowerIterationResult> {
  return await drive(iterate("powerIteration", operator, options), options);
}

/** Like `powerIteration`, blocking. */
export function powerIterationSync(
  operator: LinearOperatorSync,
  options: PowerIterationOptions = {},
): PowerIterationResult {
  const fn = "powerIterationSync";
  return driveSync(fn, iterate(fn, operator, options));
}
