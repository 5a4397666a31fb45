import { untilAborted } from "../binding/index.js";
import { ArgumentError, expected, ShapeError } from "../errors.js";
import { TimeSlice } from "../io/event-loop.js";
import type { Problem, SecondOrderProblem, SolverStatus, Vector } from "./types.js";
import { norm } from "./vector.js";

/** Ends a run from anywhere inside it; never leaves this room. */
export class Stop extends Error {
  constructor(
    readonly status: SolverStatus,
    readonly reason: string,
    readonly error?: unknown,
  ) {
    super(reason);
  }

  /** For what one of the user's functions threw. */
  static failed(name: string, error: unknown): Stop {
    const message = error instanceof Error ? error.message : String(error);
    return new Stop("failed", `${name} threw: ${message}`, error);
  }
}

/** A point with what is known there. */
export interface Point<V extends Vector> {
  readonly x: V;
  readonly value: number;
  readonly gradient: V;
}

export function isFinitePoint({ value, gradient }: Point<Vector>): boolean {
  return Number.isFinite(value) && gradient.every(Number.isFinite);
}

export function copy<V extends Vector>(x: V): V {
  return x.slice() as V;
}

/** Calls the user's functions: counts and bounds the calls, checks and copies results, keeps the best point met. */
export class Evaluator<V extends Vector> {
  readonly fn: string;
  readonly start: V;
  protected readonly counts = new Map<string, number>();
  protected calls = 0;
  protected best: { x: V; value: number; gradientNorm: number };
  readonly #maxEvaluations: number;
  readonly #signal: AbortSignal | undefined;
  readonly #slice = new TimeSlice();

  constructor(fn: string, start: V, maxEvaluations: number, signal: AbortSignal | undefined) {
    this.fn = fn;
    this.start = start;
    this.best = { x: start, value: NaN, gradientNorm: NaN };
    this.#maxEvaluations = maxEvaluations;
    this.#signal = signal;
  }

  stop(status: SolverStatus, reason: string): never {
    throw new Stop(status, reason);
  }

  /** Calls one function: within the budget, unless aborted, with pauses for the event loop. */
  async call<T>(name: string, body: () => T | Promise<T>): Promise<T> {
    if (this.#slice.due()) await this.#slice.pause(this.fn);
    if (this.#signal?.aborted) this.#aborted();
    if (this.calls >= this.#maxEvaluations) {
      this.stop("maxEvaluations", `the budget of ${this.#maxEvaluations} evaluations is used up`);
    }
    this.calls++;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    try {
      const result = body();
      return result instanceof Promise ? await untilAborted(result, this.#signal) : result;
    } catch (error) {
      if (this.#signal?.aborted && error === this.#signal.reason) this.#aborted();
      throw Stop.failed(name, error);
    }
  }

  /** The value at a trial point; it counts for the best point. */
  async value(problem: Problem<V>, x: V): Promise<number> {
    const value = this.#number("value", await this.call("value", () => problem.value(copy(x))));
    this.offer(x, value, NaN);
    return value;
  }

  async gradient(problem: Problem<V>, x: V): Promise<V> {
    return this.vector("gradient", await this.call("gradient", () => problem.gradient(copy(x))));
  }

  /** Value and gradient at a point, finite or not; it counts for the best point. */
  async point(problem: Problem<V>, x: V): Promise<Point<V>> {
    let point: Point<V>;
    if (problem.valueAndGradient) {
      const name = "valueAndGradient";
      const both = await this.call(name, () => problem.valueAndGradient?.(copy(x)));
      point = {
        x,
        value: this.#number(name, both?.value),
        gradient: this.vector(name, both?.gradient),
      };
    } else {
      const value = await this.value(problem, x);
      point = { x, value, gradient: await this.gradient(problem, x) };
    }
    this.offer(x, point.value, norm(point.gradient));
    return point;
  }

  /** Like `point`, where nothing but a finite one will do: the run ends otherwise. */
  async finitePoint(problem: Problem<V>, x: V): Promise<Point<V>> {
    const point = await this.point(problem, x);
    if (!Number.isFinite(point.value))
      this.stop("nonFinite", `f is ${point.value} ${this.where()}`);
    this.requireFinite("the gradient", point.gradient);
    return point;
  }

  /** The Hessian, made symmetric by its lower triangle. */
  async hessian(problem: SecondOrderProblem<V>, x: V): Promise<Float64Array> {
    const n = x.length;
    const raw = await this.call("hessian", () => problem.hessian?.(copy(x)));
    const matrix = this.numbers("hessian", raw, n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) matrix[j * n + i] = matrix[i * n + j] ?? 0;
    }
    this.requireFinite("the Hessian", matrix);
    return matrix;
  }

  /** The Hessian times v. */
  async hvp(problem: SecondOrderProblem<V>, x: V, v: V): Promise<V> {
    const raw = await this.call("hvp", () => problem.hvp?.(copy(x), copy(v)));
    const product = this.vector("hvp", raw);
    this.requireFinite("a Hessian-vector product", product);
    return product;
  }

  requireFiniteValue(value: number): void {
    if (!Number.isFinite(value)) this.stop("nonFinite", `f is ${value} ${this.where()}`);
  }

  requireFinite(what: string, values: Vector): void {
    if (!values.every(Number.isFinite)) {
      this.stop("nonFinite", `${what} has a non-finite entry ${this.where()}`);
    }
  }

  /** Copies n numbers a callback gave, in the kind of vector of the run. */
  vector(name: string, value: ArrayLike<number> | undefined): V {
    const copied = copy(this.start);
    copied.set(this.#checked(name, value, this.start.length));
    return copied;
  }

  /** Copies numbers a callback gave, in float64. */
  numbers(name: string, value: ArrayLike<number> | undefined, length: number): Float64Array {
    return Float64Array.from(this.#checked(name, value, length));
  }

  /** Remembers the best point there was; of equal ones the last, so that a gradient found later is not lost. */
  offer(x: V, value: number, gradientNorm: number): void {
    if (!Number.isFinite(value) || value > this.best.value) return;
    if (value === this.best.value && Number.isNaN(gradientNorm)) return;
    this.best = { x: copy(x), value, gradientNorm };
  }

  /** In a message: the place of the run. */
  protected where(): string {
    return "at x0";
  }

  #checked(name: string, value: ArrayLike<number> | undefined, length: number): ArrayLike<number> {
    if (value?.length === length) return value;
    throw new ShapeError(expected(this.fn, `${length} numbers`, `the result of ${name}`, value));
  }

  #number(name: string, value: unknown): number {
    if (typeof value === "number") return value;
    throw new ArgumentError(expected(this.fn, "a number", `the result of ${name}`, value));
  }

  #aborted(): never {
    this.stop("aborted", `aborted after ${this.calls} evaluations`);
  }
}
