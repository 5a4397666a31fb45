/** What solvers take and give back. */

/** Parameters and gradients: float64, or float32 where a solver offers it. */
export type Vector = Float64Array | Float32Array;

type Awaitable<T> = T | Promise<T>;

/**
 * A function to minimise, by what can be computed of it. `x` is a copy that the callee may keep; a result is read before the
 * next call and may be the same array every time. Functions may be asynchronous.
 */
export interface Problem<V extends Vector = Float64Array> {
  /** f(x). NaN and Infinity mean that x is outside the domain. */
  readonly value: (x: V) => Awaitable<number>;
  /** The gradient of f, `[n]`. */
  readonly gradient: (x: V) => Awaitable<ArrayLike<number>>;
  /** Both at once, where that is cheaper than one after the other; counts as one call. */
  readonly valueAndGradient?:
    ((x: V) => Awaitable<{ value: number; gradient: ArrayLike<number> }>) | undefined;
}

/** A problem with its Hessian: whole (`hessian`), as products (`hvp`), or both. */
export interface SecondOrderProblem<V extends Vector = Float64Array> extends Problem<V> {
  /** The Hessian of f, `[n, n]` row-major; only its lower triangle is read. */
  readonly hessian?: ((x: V) => Awaitable<ArrayLike<number>>) | undefined;
  /** The Hessian times v, `[n]`. */
  readonly hvp?: ((x: V, v: V) => Awaitable<ArrayLike<number>>) | undefined;
}

/** The sum of squares 1/2 ||r(x)||^2, by its residuals and their Jacobian: whole (`jacobian`) or as products (`jvp`, `vjp`). */
export interface LeastSquaresProblem {
  /** r(x), `[m]`; m must not change. */
  readonly residuals: (x: Float64Array) => Awaitable<ArrayLike<number>>;
  /** dr/dx, `[m, n]` row-major. */
  readonly jacobian?: ((x: Float64Array) => Awaitable<ArrayLike<number>>) | undefined;
  /** J v, `[m]`. */
  readonly jvp?: ((x: Float64Array, v: Float64Array) => Awaitable<ArrayLike<number>>) | undefined;
  /** J^T u, `[n]`. */
  readonly vjp?: ((x: Float64Array, u: Float64Array) => Awaitable<ArrayLike<number>>) | undefined;
}

/**
 * Why a solver ended:
 * - `converged`: the stopping rule holds at `x`.
 * - `maxIterations`, `maxEvaluations`: the budget was used up.
 * - `stalled`: no step lowers f any more; most often the precision floor, sometimes a gradient that is not that of f.
 * - `notPositiveDefinite`: a matrix the method needs positive definite was not; for `newton`: f is not convex there.
 * - `nonFinite`: f or a derivative is NaN or infinite where it must not be.
 * - `failed`: a function of the problem, or `onIteration`, threw; see `error`.
 * - `aborted`: by the signal.
 */
export type SolverStatus =
  | "converged"
  | "maxIterations"
  | "maxEvaluations"
  | "stalled"
  | "notPositiveDefinite"
  | "nonFinite"
  | "failed"
  | "aborted";

/** Calls of each function of the problem. */
export type Evaluations = Readonly<Record<string, number>>;

/** One point of the way: the start (iteration 0), then one for each iteration. */
export interface TracePoint {
  readonly iteration: number;
  readonly value: number;
  /** ||g||_2. */
  readonly gradientNorm: number;
  /** ||x - x before||_2; 0 at the start and where a step was refused. */
  readonly stepNorm: number;
  /** Calls of all functions of the problem so far. */
  readonly evaluations: number;
  /** Since the start. */
  readonly seconds: number;
}

export interface SolverResult<V extends Vector = Float64Array, Extra = object> {
  /** The best point that was evaluated; the start when nothing was. */
  readonly x: V;
  /** f(x); NaN when it was never evaluated or is not finite. */
  readonly value: number;
  /** ||g(x)||_2; NaN when it was never evaluated. */
  readonly gradientNorm: number;
  readonly status: SolverStatus;
  /** The status in a sentence, with numbers. */
  readonly reason: string;
  readonly iterations: number;
  readonly evaluations: Evaluations;
  readonly trace: readonly (TracePoint & Extra)[];
  /** What a callback threw, with status `failed`. */
  readonly error?: unknown;
}

export interface SolverOptions<V extends Vector = Float64Array, Extra = object> {
  /** >= 0; default 200. */
  readonly maxIterations?: number | undefined;
  /** Calls of all functions of the problem together, >= 0; default Infinity. */
  readonly maxEvaluations?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with every point of the trace as it is made; `x` is a copy. */
  readonly onIteration?: ((point: TracePoint & Extra, x: V) => void) | undefined;
}
