import { type Device, untilAborted } from "../binding/index.js";
import { ArgumentError, NumericalError, ShapeError, expected } from "../errors.js";
import { checkInteger, checkSameDevice, checkTensor } from "../ops/check.js";
import { randomNormal } from "../ops/random.js";
import { vectorDot } from "../ops/vector-reduce.js";
import { axpby, combineRows } from "../ops/vector-update.js";
import { Tensor } from "../tensor/index.js";

export type Real = "float32" | "float64";

/**
 * A symmetric linear operator: a matrix `[n, n]`, or a function that takes a vector `[n]` and returns a new tensor, the product,
 * which then belongs to the caller of the function.
 */
export type LinearOperator = Tensor | ((x: Tensor) => Tensor | Promise<Tensor>);

/** The same for the blocking twins. */
export type LinearOperatorSync = Tensor | ((x: Tensor) => Tensor);

export interface IterationOptions {
  /** The promise rejects at once with `signal.reason`, and no further product is asked for. */
  readonly signal?: AbortSignal | undefined;
}

type Request =
  | { readonly operator: LinearOperator; readonly name: string; readonly x: Tensor }
  | { readonly read: readonly Tensor<"float64">[] };
type Answer = Tensor | readonly Float64Array[];

/** An iteration, written once: it asks for products and for numbers, and is driven by waiting or by blocking. */
export type Iteration<T> = Generator<Request, T, Answer>;

/** `operator x`, converted to the dtype; a tensor the iteration owns. */
export function* product(
  fn: string,
  operator: LinearOperator,
  x: Tensor,
  input: Real,
  dtype: Real,
  name = "operator",
): Iteration<Tensor> {
  const given = x.dtype === input ? x : x.toDType(input);
  let y: unknown;
  try {
    y = yield { operator, name, x: given };
  } finally {
    if (given !== x) given.dispose();
  }
  const what = `the result of ${name}`;
  if (y === given || y === x)
    throw new ArgumentError(expected(fn, "a new tensor", what, "its argument"));
  try {
    checkTensor(fn, what, y, ["float32", "float64"], x.shape);
    checkSameDevice(fn, { "the vector": x, [what]: y });
  } catch (error) {
    if (y instanceof Tensor) y.dispose();
    throw error;
  }
  if (y.dtype === dtype && y.isContiguous) return y;
  const converted = y.toDType(dtype);
  y.dispose();
  return converted;
}

/** The values of float64 tensors, which are disposed. */
export function* read(...tensors: Tensor<"float64">[]): Iteration<readonly Float64Array[]> {
  try {
    return (yield { read: tensors }) as readonly Float64Array[];
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}

/** One number of a scalar tensor, which is disposed. */
export function* readNumber(tensor: Tensor<"float64">): Iteration<number> {
  const [values] = yield* read(tensor);
  return values?.[0] ?? Number.NaN;
}

function matrixTimes(matrix: Tensor, x: Tensor): Tensor {
  using same = x.toDType(matrix.dtype);
  return vectorDot(matrix, same);
}

async function answer(request: Request, signal?: AbortSignal): Promise<Answer> {
  if ("read" in request)
    return await untilAborted(Promise.all(request.read.map((t) => t.data())), signal);
  const { operator, x } = request;
  if (operator instanceof Tensor) return matrixTimes(operator, x);
  const running = Promise.resolve(operator(x));
  try {
    return await untilAborted(running, signal);
  } catch (error) {
    // Nobody takes what an abandoned product becomes.
    if (signal?.aborted) void running.then(disposeOf, () => undefined);
    throw error;
  }
}

function disposeOf(tensor: Tensor): void {
  tensor.dispose();
}

/** Runs an iteration off the event loop. */
export async function drive<T>(iteration: Iteration<T>, { signal }: IterationOptions): Promise<T> {
  let next = iteration.next();
  while (next.done !== true) {
    let value: Answer;
    try {
      signal?.throwIfAborted();
      value = await answer(next.value, signal);
    } catch (error) {
      next = iteration.throw(error);
      continue;
    }
    next = iteration.next(value);
  }
  return next.value;
}

/** Runs an iteration, blocking. */
export function driveSync<T>(fn: string, iteration: Iteration<T>): T {
  let next = iteration.next();
  while (next.done !== true) {
    let value: Answer;
    try {
      const request = next.value;
      if ("read" in request) value = request.read.map((t) => t.dataSync());
      else if (request.operator instanceof Tensor) value = matrixTimes(request.operator, request.x);
      else {
        const y = request.operator(request.x);
        if (y instanceof Promise)
          throw new ArgumentError(expected(fn, "a tensor", `the result of ${request.name}`, y));
        value = y;
      }
    } catch (error) {
      next = iteration.throw(error);
      continue;
    }
    next = iteration.next(value);
  }
  return next.value;
}

/** Checks an operator; a matrix must be `[size, size]`, float32 or float64. */
export function checkOperator(
  fn: string,
  name: string,
  operator: LinearOperator,
  size: number,
): void {
  if (typeof operator === "function") return;
  if (!((operator as unknown) instanceof Tensor))
    throw new ArgumentError(expected(fn, "a matrix or a function", name, operator));
  checkTensor(fn, name, operator, ["float32", "float64"], [size, size]);
}

export interface StartOptions {
  /** The first vector, `[n]`. Default: normal numbers from `seed`. */
  readonly start?: Tensor | undefined;
  /** 0 to 2^53 - 1. Default 0. */
  readonly seed?: number | undefined;
  /** n, where the operator is a function and there is no `start`. */
  readonly size?: number | undefined;
  /** Of the vectors, where the operator is a function and there is no `start`. Default "cpu". */
  readonly device?: Device | undefined;
  /** What the operator is given. Default: the dtype of a matrix, else float32. */
  readonly operatorDType?: Real | undefined;
}

/** Size, dtypes and device of an iteration from what was given of them. */
export function describeStart(fn: string, operator: LinearOperator, options: StartOptions) {
  const { start, seed = 0 } = options;
  const matrix = typeof operator === "function" ? undefined : operator;
  if (start !== undefined) checkTensor(fn, "start", start, ["float32", "float64"], ["n"]);
  const size = start?.size ?? options.size ?? (matrix as Tensor | undefined)?.shape[0];
  if (size === undefined)
    throw new ArgumentError(expected(fn, "a size, or a start vector,", "size", size));
  checkInteger(fn, "size", size, 0, 2 ** 31 - 1);
  checkOperator(fn, "operator", operator, size);
  if (options.size !== undefined && options.size !== size)
    throw new ShapeError(expected(fn, `the ${size} elements of start`, "size", options.size));
  checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  const input = options.operatorDType ?? (matrix?.dtype as Real | undefined) ?? "float32";
  const device = start?.device ?? matrix?.device ?? options.device ?? "cpu";
  /** The first vector in the dtype, a new tensor; for `stream` > 0 one of normal numbers, whatever the start. */
  const first = (dtype: Real, stream = 0): Tensor => {
    if (start !== undefined && stream === 0) return start.toDType(dtype);
    using numbers = randomNormal([size], { seed, stream, device });
    return numbers.toDType(dtype);
  };
  return { size, input, device, first };
}

/** Row i of a matrix with contiguous rows, as a vector; a view that the caller disposes. */
export function row(matrix: Tensor, i: number): Tensor {
  using one = matrix.slice(0, i, i + 1);
  return one.reshape([matrix.shape[1] ?? 0]);
}

/** `w -= V^T (V w)` over the first `count` rows of V; returns `V w`, which the caller disposes. */
export function orthogonalizeAgainst(basis: Tensor, count: number, w: Tensor): Tensor<"float64"> {
  using rows = basis.slice(0, 0, count);
  const coefficients = vectorDot(rows, w);
  using factors = coefficients.reshape([1, count]);
  using target = w.reshape([1, w.size]);
  combineRows(factors, rows, target, { alpha: -1, beta: 1 });
  return coefficients;
}

/** `target = factor * source`. */
export function copyScaled(factor: number, source: Tensor, target: Tensor): void {
  axpby(factor, source, 0, target);
}

/** Refuses a number that is NaN or Inf: the operator, or what it was given, is not finite. */
export function checkFiniteNumber(
  fn: string,
  what: string,
  iteration: number,
  value: number,
): void {
  if (!Number.isFinite(value)) {
    throw new NumericalError(
      "NON_FINITE",
      `${fn}: ${what} is not finite in iteration ${iteration}`,
      {
        details: { iteration },
      },
    );
  }
}
