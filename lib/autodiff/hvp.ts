import { closeScope, openScope, track, type Tensor } from "../tensor/index.js";
import { activeContexts, holding, withContexts } from "./context.js";
import { Forward } from "./forward.js";
import {
  checkMatching,
  checkParameters,
  differentiate,
  own,
  scalarOf,
  type ValueAndGrad,
} from "./grad.js";
import { pushforward } from "./jvp.js";
import { Tape } from "./tape.js";
import { mapOf, zerosLike } from "./tensors.js";

export interface Hvp extends ValueAndGrad {
  /** The Hessian times the vectors: one for each parameter. */
  readonly products: readonly Tensor[];
}

/**
 * The Hessian of a scalar function times a vector, with the value and the gradient, which come with it (forward over
 * reverse).
 *
 * @param vectors one of the shape and dtype of each parameter.
 * @returns tensors the caller disposes. Cost: about three times the gradient. Exact; no step size.
 * Source: Pearlmutter, Fast exact multiplication by the Hessian, 1994.
 */
export function hvp(fn: () => Tensor, params: readonly Tensor[], vectors: readonly Tensor[]): Hvp {
  const name = "hvp";
  checkParameters(name, params);
  checkMatching(name, "vectors", vectors, params);
  let unused: readonly number[] = [];
  const { outputs, tangents } = pushforward(
    name,
    () => {
      const inner = differentiate(name, fn, params);
      unused = inner.unused;
      return [inner.value, ...inner.gradients];
    },
    params,
    vectors,
  );
  const [value, ...gradients] = outputs as [Tensor, ...Tensor[]];
  const [slope, ...products] = tangents as [Tensor, ...Tensor[]];
  slope.dispose();
  return { value, gradients, unused, products };
}

export interface Ggnvp {
  readonly value: Tensor;
  /** The Gauss-Newton matrix times the vectors: one for each parameter. */
  readonly products: readonly Tensor[];
}

/**
 * The generalized Gauss-Newton matrix `J^T H J` times a vector, with J the Jacobian of the model's outputs and H the Hessian
 * of the loss by the outputs. Positive semi-definite for a convex loss.
 *
 * @param model computes outputs of any shape from the parameters.
 * @param loss a scalar function of the outputs alone.
 * @param vectors one of the shape and dtype of each parameter.
 * @returns tensors the caller disposes. Cost: about 2.3 times a gradient.
 * Source: Schraudolph, Fast curvature matrix-vector products, 2002.
 */
export function ggnvp(
  model: () => Tensor,
  loss: (outputs: Tensor) => Tensor,
  params: readonly Tensor[],
  vectors: readonly Tensor[],
): Ggnvp {
  const name = "ggnvp";
  checkParameters(name, params);
  checkMatching(name, "vectors", vectors, params);
  const outer = activeContexts();
  const kept = new Set<Tensor>();
  const forward = new Forward(mapOf(params, vectors), outer);
  const scope = openScope(true);
  const tape = new Tape(params, outer);
  try {
    const outputs = withContexts([...outer, forward, tape], model);
    scope.holds = holding(outer);
    const direction = forward.take([outputs]).get(outputs) ?? zerosLike(outputs);
    track(direction);
    forward.end();
    // The loss by its outputs: a fresh variable, so that nothing behind them is followed.
    const curved = hvp(() => scalarOf(name, loss(outputs)), [outputs], [direction]);
    const found = tape.backward(mapOf([outputs], curved.products), params, scope);
    const products = params.map((param) => found.get(param) ?? zerosLike(param));
    const value = own(curved.value, scope);
    for (const tensor of [value, ...products]) {
      scope.tensors.add(tensor);
      kept.add(tensor);
    }
    return { value, products };
  } finally {
    forward.end();
    closeScope(scope, kept);
  }
}
