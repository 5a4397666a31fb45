import { ArgumentError, expected } from "../errors.js";
import { copy, Evaluator, type Point, Stop } from "./evaluator.js";
import type { SolverOptions, SolverResult, TracePoint, Vector } from "./types.js";
import { norm } from "./vector.js";

const kinds = { float64: Float64Array, float32: Float32Array };

/**
 * One run of a solver: evaluations, iterations and the trace. A solver's body runs inside `Run.do`; whatever ends it, the
 * result is whole.
 */
export class Run<V extends Vector, Extra = object> extends Evaluator<V> {
  readonly #options: SolverOptions<V, Extra>;
  readonly #maxIterations: number;
  readonly #trace: (TracePoint & Extra)[] = [];
  readonly #began = performance.now();

  /** @throws ArgumentError for options or a starting point that make no sense. */
  constructor(
    fn: string,
    x0: V,
    options: SolverOptions<V, Extra>,
    kind: keyof typeof kinds = "float64",
  ) {
    const { maxIterations = 200, maxEvaluations = Infinity, signal } = options;
    if (!(x0 instanceof kinds[kind])) {
      throw new ArgumentError(expected(fn, `a ${kinds[kind].name}`, "x0", x0));
    }
    if (x0.length === 0) throw new ArgumentError(expected(fn, "at least one parameter", "x0", x0));
    super(fn, copy(x0), checkBudget(fn, "maxEvaluations", maxEvaluations), signal);
    this.#maxIterations = checkBudget(fn, "maxIterations", maxIterations);
    this.#options = options;
  }

  /** Runs the body; what it, or any call inside it, ends with becomes the result. */
  async do(body: () => Promise<never>): Promise<SolverResult<V, Extra>> {
    try {
      return await body();
    } catch (thrown) {
      if (!(thrown instanceof Stop)) throw thrown;
      const { status, reason, error } = thrown;
      return {
        ...this.best,
        status,
        reason,
        iterations: Math.max(0, this.#trace.length - 1),
        evaluations: Object.fromEntries(this.counts),
        trace: this.#trace,
        ...(status === "failed" ? { error } : {}),
      };
    }
  }

  /** Notes the start, or the point an iteration led to. */
  note(point: Point<V>, stepNorm: number, extra: Extra): void {
    const noted = {
      iteration: this.#trace.length,
      value: point.value,
      gradientNorm: norm(point.gradient),
      stepNorm,
      evaluations: this.calls,
      seconds: (performance.now() - this.#began) / 1000,
      ...extra,
    };
    this.#trace.push(noted);
    try {
      this.#options.onIteration?.(noted, copy(point.x));
    } catch (error) {
      throw Stop.failed("onIteration", error);
    }
  }

  /** Ends the run at this point: of values that differ by rounding alone, another may be the lowest. */
  converged({ x, value, gradient }: Point<V>, reason: string): never {
    this.best = { x, value, gradientNorm: norm(gradient) };
    this.stop("converged", reason);
  }

  /** Ends the run when no iteration is left; asked after the test of convergence. */
  nextIteration(): void {
    if (this.#trace.length > this.#maxIterations) {
      this.stop("maxIterations", `${this.#maxIterations} iterations were not enough`);
    }
  }

  protected override where(): string {
    return this.#trace.length === 0 ? super.where() : `in iteration ${this.#trace.length}`;
  }
}

/** A count that may be without bound. */
function checkBudget(fn: string, name: string, value: number): number {
  if (value === Infinity || (Number.isInteger(value) && value >= 0)) return value;
  throw new ArgumentError(expected(fn, "a whole number >= 0, or Infinity,", name, value));
}

/** @internal A number within bounds; both ends are allowed unless `open`. */
export function checkNumber(
  fn: string,
  name: string,
  value: unknown,
  { min = -Infinity, max = Number.MAX_VALUE, open = false },
): number {
  const closed = typeof value === "number" && value >= min && value <= max;
  if (closed && !(open && (value === min || value === max))) return value;
  const least = min === -Infinity ? "" : open ? ` > ${min}` : ` >= ${min}`;
  const most = max >= Number.MAX_VALUE ? "" : open ? ` < ${max}` : ` <= ${max}`;
  const range = `a${max === Infinity ? "" : " finite"} number${least}${least && most ? " and" : ""}${most}`;
  throw new ArgumentError(expected(fn, range, name, value));
}
