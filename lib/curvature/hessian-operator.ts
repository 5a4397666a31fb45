import { concat, hvp } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import type { Parameter } from "../nn/parameter.js";
import { axpby } from "../ops/vector-update.js";
import type { Tensor } from "../tensor/index.js";

/** The loss of a model as a scalar tensor, for one of several batches. Synchronous, the same value each time. */
export type BatchLoss = (batch: number) => Tensor;

export interface OverBatches {
  /** The loss is the mean of `loss(0)` to `loss(batches - 1)`. Default 1. */
  readonly batches?: number | undefined;
}

/** @internal Parameters as a list, checked. */
export function parameterList(fn: string, params: Iterable<Parameter>): readonly Parameter[] {
  if (typeof (params as Partial<Iterable<Parameter>> | undefined)?.[Symbol.iterator] !== "function")
    throw new ArgumentError(expected(fn, "an iterable of { name, tensor }", "params", params));
  const list = [...params];
  if (list.length === 0) throw new ArgumentError(`${fn}: expected at least one parameter`);
  return list;
}

/** @internal */
export function checkBatches(fn: string, batches = 1): number {
  if (!Number.isInteger(batches) || batches < 1)
    throw new ArgumentError(expected(fn, "a whole number from 1", "batches", batches));
  return batches;
}

/** One element after the other, as `flatten` lays tensors out. */
export function flatSize(params: readonly Parameter[]): number {
  return params.reduce((sum, { tensor }) => sum + tensor.size, 0);
}

/** The elements of tensors one after the other: a new vector. */
export function flatten(tensors: readonly Tensor[]): Tensor {
  const rows = tensors.map((tensor) => {
    using whole = tensor.contiguous();
    return whole.reshape([whole.size]);
  });
  try {
    return concat(rows);
  } finally {
    for (const row of rows) row.dispose();
  }
}

/** Views of a vector in the shapes of the parameters; the caller disposes them. */
export function unflatten(vector: Tensor, params: readonly Parameter[]): Tensor[] {
  let at = 0;
  return params.map(({ tensor }) => {
    using part = vector.slice(0, at, (at += tensor.size));
    return part.reshape(tensor.shape);
  });
}

/**
 * The mean over batches of the Hessian of the loss times vectors shaped like the parameters. The caller disposes the products.
 * Cost: about three gradients a batch.
 */
export function hessianProducts(
  loss: BatchLoss,
  params: readonly Parameter[],
  vectors: readonly Tensor[],
  batches: number,
): Tensor[] {
  const tensors = params.map(({ tensor }) => tensor);
  const productsOf = (k: number): readonly Tensor[] => {
    const { value, gradients, products } = hvp(() => loss(k), tensors, vectors);
    for (const tensor of [value, ...gradients]) tensor.dispose();
    return products;
  };
  const first = productsOf(0);
  if (batches === 1) return [...first];
  const sums = first.map((product) => product.contiguous());
  for (const product of first) product.dispose();
  try {
    for (let k = 1; k < batches; ++k) {
      for (const [i, product] of productsOf(k).entries()) {
        const sum = sums[i];
        if (sum) addScaled(1, product, 1, sum);
        product.dispose();
      }
    }
    for (const sum of sums) addScaled(0, undefined, 1 / batches, sum);
    return sums;
  } catch (error) {
    for (const sum of sums) sum.dispose();
    throw error;
  }
}

/** y = a x + b y over all elements; y is contiguous. */
function addScaled(a: number, x: Tensor | undefined, b: number, y: Tensor): void {
  using target = y.reshape([y.size]);
  if (x === undefined) {
    axpby(a, undefined, b, target);
    return;
  }
  using whole = x.contiguous();
  using source = whole.reshape([whole.size]);
  axpby(a, source, b, target);
}
