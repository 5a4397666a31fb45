import { ArgumentError, expected } from "../errors.js";
import { closeScope, openScope, Tensor, type TensorScope } from "../tensor/index.js";
import { activeContexts, holding, withContexts } from "./context.js";
import { Forward } from "./forward.js";
import { checkMatching, checkParameters, own } from "./grad.js";
import { Tape } from "./tape.js";
import { mapOf, zerosLike } from "./tensors.js";

/** What `jvp` and `vjp` differentiate: a function of captured tensors with one result or several. */
export type Outputs = Tensor | readonly Tensor[];

export interface Jvp {
  readonly outputs: readonly Tensor[];
  /** The Jacobian times the tangents: one for each output. */
  readonly tangents: readonly Tensor[];
}

function listOf(fn: string, outputs: unknown): readonly Tensor[] {
  const list: readonly unknown[] = Array.isArray(outputs) ? outputs : [outputs];
  for (const output of list) {
    if (!(output instanceof Tensor))
      throw new ArgumentError(
        expected(fn, "a tensor or an array of tensors", "the result of the function", output),
      );
  }
  return list as readonly Tensor[];
}

/**
 * The results of a function and their derivative along a direction (forward mode).
 *
 * @param fn synchronous; its results may have any shape.
 * @param params the tensors it is differentiated by, and `tangents` the direction: one of the shape and dtype of each.
 * @returns tensors the caller disposes. Cost: about twice the function more than the function.
 */
export function jvp(
  fn: () => Outputs,
  params: readonly Tensor[],
  tangents: readonly Tensor[],
): Jvp {
  return pushforward("jvp", fn, params, tangents);
}

/** @internal */
export function pushforward(
  name: string,
  fn: () => Outputs,
  params: readonly Tensor[],
  tangents: readonly Tensor[],
): Jvp {
  checkParameters(name, params);
  checkMatching(name, "tangents", tangents, params);
  const outer = activeContexts();
  const kept = new Set<Tensor>();
  const forward = new Forward(mapOf(params, tangents), outer);
  const scope = openScope(holding(outer));
  try {
    const made = withContexts([...outer, forward], () => listOf(name, fn()));
    const outputs = made.map((output) => own(output, scope));
    const found = forward.take([...new Set(made)]);
    const results = made.map((output, i) => {
      const tangent = found.get(output);
      if (tangent === undefined) return zerosLike(output);
      return made.indexOf(output) === i ? tangent : own(tangent, scope);
    });
    for (const tensor of [...outputs, ...results]) {
      scope.tensors.add(tensor);
      kept.add(tensor);
    }
    return { outputs, tangents: results };
  } finally {
    forward.end();
    closeScope(scope, kept);
  }
}

export interface Vjp {
  readonly outputs: readonly Tensor[];
  /** The transposed Jacobian times cotangents, one of the shape of each output: one for each parameter. May be called again. */
  pullback(cotangents: readonly Tensor[]): readonly Tensor[];
  /** Frees what the derivative needs; the outputs stay. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/**
 * The results of a function, and a function that takes derivatives of them backwards (reverse mode), for results of any
 * shape and as often as asked. Holds everything made inside `fn` until it is disposed.
 *
 * Not for use inside another derivative: take `grad` there.
 */
export function vjp(fn: () => Outputs, params: readonly Tensor[]): Vjp {
  const name = "vjp";
  checkParameters(name, params);
  const outer = activeContexts();
  if (outer.length > 0)
    throw new ArgumentError(
      `${name}: expected no other derivative around it; use grad or jvp inside one`,
    );
  const tape = new Tape(params, outer);
  const scope = openScope(true);
  let held: TensorScope["tensors"] = new Set();
  let outputs: readonly Tensor[] = [];
  try {
    const made = withContexts([tape], () => listOf(name, fn()));
    outputs = made.map((output) => own(output, scope));
    const mine = new Set<unknown>(outputs);
    held = new Set([...scope.tensors].filter((tensor) => !mine.has(tensor)));
    for (const tensor of held) scope.tensors.delete(tensor);
    const dispose = () => {
      for (const tensor of held) tensor.dispose();
    };
    return {
      outputs,
      pullback(cotangents) {
        checkMatching(`${name}.pullback`, "cotangents", cotangents, outputs);
        const found = tape.backward(mapOf(made, cotangents), params);
        return params.map((param) => found.get(param) ?? zerosLike(param));
      },
      dispose,
      [Symbol.dispose]: dispose,
    };
  } finally {
    closeScope(scope, new Set<unknown>(outputs));
  }
}
