import { ArgumentError, ShapeError, expected } from "../errors.js";
import { closeScope, openScope, sameShape, Tensor, type TensorScope } from "../tensor/index.js";
import { checkReal } from "../ops/broadcast.js";
import { activeContexts, holding, withContexts } from "./context.js";
import { Tape } from "./tape.js";
import { numberLike, zerosLike } from "./tensors.js";
import { alias } from "./ops/views.js";

export interface ValueAndGrad {
  /** What the function returned, one element. */
  readonly value: Tensor;
  /** One for each parameter, of its shape and dtype. */
  readonly gradients: readonly Tensor[];
  /** Indices of parameters that the value does not depend on; their gradients are zero. */
  readonly unused: readonly number[];
}

/** @internal Checks what derivatives are taken by. */
export function checkParameters(fn: string, params: readonly Tensor[]): void {
  if (!Array.isArray(params))
    throw new ArgumentError(expected(fn, "an array of tensors", "params", params));
  params.forEach((param: unknown, i) => {
    checkReal(fn, `params[${i}]`, param);
    param.native(fn); // throws DisposedError
  });
}

/** @internal Checks vectors that belong to tensors one by one. */
export function checkMatching(
  fn: string,
  name: string,
  vectors: readonly Tensor[],
  tensors: readonly Tensor[],
): void {
  if (!Array.isArray(vectors) || vectors.length !== tensors.length)
    throw new ArgumentError(expected(fn, `${tensors.length} tensors`, name, vectors));
  tensors.forEach((tensor, i) => {
    const vector: unknown = vectors[i];
    checkReal(fn, `${name}[${i}]`, vector);
    vector.native(fn); // throws DisposedError
    if (!sameShape(vector.shape, tensor.shape))
      throw new ShapeError(
        expected(fn, `shape [${tensor.shape.join(", ")}]`, `${name}[${i}]`, vector.shape),
      );
    if (vector.dtype !== tensor.dtype)
      throw new ArgumentError(
        expected(fn, tensor.dtype, `the dtype of ${name}[${i}]`, vector.dtype),
      );
  });
}

/** @internal The value of a function that must return one real element. */
export function scalarOf(fn: string, value: unknown): Tensor {
  checkReal(fn, "the result of the function", value);
  if (value.size !== 1)
    throw new ShapeError(expected(fn, "one element", "the result of the function", value.shape));
  return value;
}

/** @internal A result in `scope`: itself when it was made there, else a view, so that disposing it leaves the caller's alone. */
export function own(x: Tensor, scope: TensorScope): Tensor {
  return scope.tensors.has(x) ? x : alias(x);
}

/**
 * The value of a scalar function and its gradient by some tensors it uses.
 *
 * Everything made inside `fn` is freed, except the value. The function is called once and must be synchronous; it may not
 * dispose what its result depends on.
 *
 * @param fn uses the parameters, e.g. as a closure, and returns one element, float32 or float64.
 * @param params distinct tensors; what is computed from them inside `fn` is followed, also through views.
 * @returns tensors the caller disposes. Cost: about three times the function.
 * @throws ShapeError when `fn` returns more than one element; DisposedError
 * @example
 * const w = Tensor.from([1, 2, 3]);
 * const { value, gradients } = valueAndGrad(() => sum(square(w)), [w]);
 * gradients[0].dataSync(); // Float32Array [2, 4, 6]
 */
export function valueAndGrad(fn: () => Tensor, params: readonly Tensor[]): ValueAndGrad {
  return differentiate("valueAndGrad", fn, params);
}

/** The gradient alone; see `valueAndGrad`. */
export function grad(fn: () => Tensor, params: readonly Tensor[]): readonly Tensor[] {
  const { value, gradients } = differentiate("grad", fn, params);
  value.dispose();
  return gradients;
}

/** @internal */
export function differentiate(
  name: string,
  fn: () => Tensor,
  params: readonly Tensor[],
): ValueAndGrad {
  checkParameters(name, params);
  const outer = activeContexts();
  const tape = new Tape(params, outer);
  const kept = new Set<Tensor>();
  const scope = openScope(true);
  try {
    const made = withContexts([...outer, tape], () => scalarOf(name, fn()));
    scope.holds = holding(outer);
    const value = own(made, scope);
    const found = withoutScope(scope, value, () =>
      tape.backward(new Map([[made, numberLike(1, made, made.shape)]]), params, scope),
    );
    const unused: number[] = [];
    const gradients = params.map((param, i) => {
      const gradient = found.get(param);
      if (gradient === undefined) unused.push(i);
      return gradient ?? zerosLike(param);
    });
    for (const tensor of [value, ...gradients]) {
      scope.tensors.add(tensor);
      kept.add(tensor);
    }
    return { value, gradients, unused };
  } finally {
    closeScope(scope, kept);
  }
}

/** Runs `body` while a tensor is out of the scope, so that nothing frees it. */
function withoutScope<T>(scope: TensorScope, tensor: Tensor, body: () => T): T {
  scope.tensors.delete(tensor);
  try {
    return body();
  } finally {
    scope.tensors.add(tensor);
  }
}
