import { hvp } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import type { Parameter } from "../nn/parameter.js";
import { TensorMean } from "../ops/tensor-mean.js";
import type { Tensor } from "../tensor/index.js";

/** The loss of a model as a scalar tensor, for one of several batches. Synchronous, the same value each time. */
export type BatchLoss = (batch: number) => Tensor;

export interface OverBatches {
  /** The loss is the mean of `loss(0)` to `loss(batches - 1)`. Default 1. */
  readonly batches?: number | undefined;
}

/** @internal */
export function checkBatches(fn: string, batches = 1): number {
  if (!Number.isInteger(batches) || batches < 1)
    throw new ArgumentError(expected(fn, "a whole number from 1", "batches", batches));
  return batches;
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
  const mean = new TensorMean();
  try {
    for (let k = 0; k < batches; ++k) {
      const { value, gradients, products } = hvp(() => loss(k), tensors, vectors);
      for (const tensor of [value, ...gradients]) tensor.dispose();
      mean.add(products);
    }
    return mean.mean();
  } catch (error) {
    mean.dispose();
    throw error;
  }
}
