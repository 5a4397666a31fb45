import { NumericalError } from "../errors.js";
import { checkInteger, checkNumber, checkSameDevice, checkTensor } from "../ops/check.js";
import { vectorDot, vectorNorm } from "../ops/vector-reduce.js";
import { axpby, cgUpdate } from "../ops/vector-update.js";
import { Tensor } from "../tensor/index.js";
import {
  type Iteration,
  type IterationOptions,
  type LinearOperator,
  type LinearOperatorSync,
  type Real,
  checkFiniteNumber,
  checkOperator,
  drive,
  driveSync,
  product,
  readNumber,
} from "./iteration.js";

export interface CgOptions {
  /** First guess, `[n]` of b's dtype. Default zeros. */
  readonly start?: Tensor | undefined;
  /** Relative residual |b - A x| / |b| to reach. Default 1e-5 for float32, 1e-10 for float64. */
  readonly tolerance?: number | undefined;
  /** Default 10 n: rounding makes badly conditioned systems take more than n. */
  readonly maxIterations?: number | undefined;
  /** What the operators are given. Default: the dtype of b. */
  readonly operatorDType?: Real | undefined;
}

/**
 * Why the iteration ended: the residual was reached; the iterations were used up; a direction p of no or negative curvature,
 * `p^T A p <= 0`, was met; or the residual computed from x stopped falling though the recurrence promises less, which is the
 * limit of the precision.
 */
export type CgReason = "converged" | "iterations" | "indefinite" | "stalled";

export interface CgResult {
  /** `[n]` of b's dtype; the caller disposes it. For "indefinite": before the step along `direction`. */
  readonly x: Tensor;
  readonly reason: CgReason;
  /** Products of the iteration; those that only check the residual are not counted. */
  readonly iterations: number;
  /** |b - A x| / |b|, computed from x by one more product. */
  readonly residual: number;
  /** For "indefinite": p with `p^T A p = curvature`; the caller disposes it. */
  readonly direction: Tensor | undefined;
  /** `p^T A p` of the last direction; NaN when there was none. */
  readonly curvature: number;
}

/** What one run of the recurrence needs and changes. */
interface Run {
  readonly fn: string;
  readonly operator: LinearOperator;
  readonly preconditioner: LinearOperator | undefined;
  readonly input: Real;
  /** Residual to reach, absolute. */
  readonly target: number;
  readonly maxIterations: number;
  readonly x: Tensor;
  iterations: number;
  curvature: number;
}

/** `b - A x`; a new tensor. */
function* residualOf({ fn, operator, input, x }: Run, b: Tensor): Iteration<Tensor> {
  const r = yield* product(fn, operator, x, input, b.dtype as Real);
  axpby(1, b, -1, r);
  return r;
}

/** `M r`, with `r^T M r` > 0; r itself without a preconditioner. */
function* precondition(run: Run, r: Tensor, norm: number): Iteration<{ z: Tensor; rz: number }> {
  const { fn, preconditioner, input, iterations } = run;
  if (preconditioner === undefined) return { z: r, rz: norm * norm };
  const z = yield* product(fn, preconditioner, r, input, r.dtype as Real, "preconditioner");
  const rz = yield* readNumber(vectorDot(r, z));
  if (rz > 0) return { z, rz };
  z.dispose();
  checkFiniteNumber(fn, "the preconditioner", iterations, rz);
  const message = `${fn}: the preconditioner is not positive definite: r^T M r = ${rz}`;
  throw new NumericalError("NOT_POSITIVE_DEFINITE", message, { details: { iterations } });
}

/** The recurrence from residual r, which it changes. Returns a direction without positive curvature, if it met one. */
function* recur(run: Run, r: Tensor, start: number): Iteration<Tensor | undefined> {
  const { fn, operator, input, x } = run;
  const dtype = r.dtype as Real;
  let p: Tensor | undefined;
  try {
    for (let norm = start, previous = 0; norm > run.target && run.iterations < run.maxIterations;) {
      const { z, rz } = yield* precondition(run, r, norm);
      if (p) axpby(1, z, rz / previous, p);
      else p = z.contiguous();
      previous = rz;
      if (z !== r) z.dispose();
      using ap = yield* product(fn, operator, p, input, dtype);
      run.curvature = yield* readNumber(vectorDot(p, ap));
      checkFiniteNumber(fn, "the product", run.iterations, run.curvature);
      ++run.iterations;
      if (run.curvature <= 0) {
        const direction = p;
        p = undefined;
        return direction;
      }
      norm = Math.sqrt(yield* readNumber(cgUpdate(rz / run.curvature, { p, ap, x, r })));
      checkFiniteNumber(fn, "the residual", run.iterations, norm);
    }
    return undefined;
  } finally {
    p?.dispose();
  }
}

function* solve(run: Run, b: Tensor, size: number, fresh: boolean): Iteration<Omit<CgResult, "x">> {
  const { target, maxIterations } = run;
  let before = Infinity; // the residual of the run before
  for (let first = fresh; ; first = false) {
    using r = first ? b.contiguous() : yield* residualOf(run, b);
    const norm = yield* readNumber(vectorNorm(r));
    checkFiniteNumber(run.fn, "the residual", run.iterations, norm);
    const residual = size === 0 ? 0 : norm / size;
    const ended = (reason: CgReason, direction?: Tensor) => {
      const { iterations, curvature } = run;
      return { reason, iterations, residual, direction, curvature };
    };
    if (norm <= target) return ended("converged");
    if (run.iterations >= maxIterations) return ended("iterations");
    // The recurrence drifts from b - A x. It is started again from there as long as that helps.
    if (residual > before / 2) return ended("stalled");
    before = residual;
    const direction = yield* recur(run, r, norm);
    if (direction === undefined) continue;
    try {
      using left = yield* residualOf(run, b);
      const final = (yield* readNumber(vectorNorm(left))) / size;
      return { ...ended("indefinite", direction), residual: final };
    } catch (error) {
      direction.dispose();
      throw error;
    }
  }
}

function* iterate(
  fn: string,
  operator: LinearOperator,
  b: Tensor,
  options: CgOptions,
  preconditioner: LinearOperator | undefined,
): Iteration<CgResult> {
  checkTensor(fn, "b", b, ["float32", "float64"], ["n"]);
  const dtype = b.dtype as Real;
  const { start, operatorDType: input = dtype, maxIterations = 10 * b.size } = options;
  const { tolerance = dtype === "float32" ? 1e-5 : 1e-10 } = options;
  checkOperator(fn, "operator", operator, b.size);
  if (preconditioner !== undefined) checkOperator(fn, "preconditioner", preconditioner, b.size);
  checkNumber(fn, "tolerance", tolerance, "> 0", (value) => value > 0);
  checkInteger(fn, "maxIterations", maxIterations, 0, Number.MAX_SAFE_INTEGER);
  if (start !== undefined) {
    checkTensor(fn, "start", start, [dtype], [b.size]);
    checkSameDevice(fn, { b, start });
  }
  using rhs = b.contiguous();
  const size = yield* readNumber(vectorNorm(rhs));
  checkFiniteNumber(fn, "b", 0, size);
  // The solution for b = 0 is 0, whatever the first guess.
  const fresh = start === undefined || size === 0;
  const x = fresh ? Tensor.zeros([b.size], { dtype, device: b.device }) : start.contiguous();
  const limits = { target: tolerance * size, maxIterations, iterations: 0, curvature: Number.NaN };
  try {
    const run = { fn, operator, preconditioner, input, x, ...limits };
    return { x, ...(yield* solve(run, rhs, size, fresh)) };
  } catch (error) {
    x.dispose();
    throw error;
  }
}

export interface PreconditionedOptions<Operator> extends CgOptions {
  /** M, an approximation of A's inverse, symmetric and positive definite. Default: none. */
  readonly preconditioner?: Operator | undefined;
}

/**
 * Conjugate gradients, preconditioned or not, for `A x = b` with A symmetric and positive definite; A is a matrix or a function.
 * What ended it is in the result: nothing that can happen to a solvable or unsolvable system is thrown.
 *
 * @param b `[n]` float32 or float64; the vectors have its dtype, inner products are in float64.
 * @throws ArgumentError, ShapeError, DTypeError, DeviceError, DisposedError, NumericalError (`NON_FINITE`, details.iteration;
 *   `NOT_POSITIVE_DEFINITE` when the preconditioner is not), what an operator throws
 * Cost: an iteration is a product and 10 n flops; 4 n numbers. Source: Hestenes and Stiefel 1952; restarts are ours.
 */
export async function cg(
  operator: LinearOperator,
  b: Tensor,
  options: PreconditionedOptions<LinearOperator> & IterationOptions = {},
): Promise<CgResult> {
  return await drive(iterate("cg", operator, b, options, options.preconditioner), options);
}

/** Like `cg`, blocking. */
export function cgSync(
  operator: LinearOperatorSync,
  b: Tensor,
  options: PreconditionedOptions<LinearOperatorSync> = {},
): CgResult {
  return driveSync("cgSync", iterate("cgSync", operator, b, options, options.preconditioner));
}
