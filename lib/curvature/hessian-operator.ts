import { hvp } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import type { Parameter } from "../nn/parameter.js";
import { TensorMean } from "../ops/tensor-mean.js";
import { copyInto } from "../ops/copy.js";
import { Tensor } from "../tensor/index.js";

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

/** @internal All elements of some tensors in one row, new. */
export function joined(tensors: readonly Tensor[]): Tensor {
  const size = tensors.reduce((sum, tensor) => sum + tensor.size, 0);
  const row = Tensor.empty([size], { device: tensors[0]?.device ?? "cpu" });
  let at = 0;
  for (const tensor of tensors) {
    using target = row.slice(0, at, at + tensor.size);
    using packed = tensor.contiguous();
    using part = packed.reshape([tensor.size]);
    copyInto("joined", part, target);
    at += tensor.size;
  }
  return row;
}

/** @internal Parts of a row in the shapes of some tensors: views. */
export function parted(row: Tensor, like: readonly Tensor[]): Tensor[] {
  let at = 0;
  return like.map(({ shape, size }) => {
    using part = row.slice(0, at, at + size);
    at += size;
    return part.reshape(shape);
  });
}

/** @internal The mean Hessian over batches as an operator on one vector of all parameters, as `linalg` takes it. */
export function hessianOperator(
  loss: BatchLoss,
  params: readonly Parameter[],
  batches: number,
): (x: Tensor) => Tensor {
  const tensors = params.map(({ tensor }) => tensor);
  return (x) => {
    const vectors = parted(x, tensors);
    const products = hessianProducts(loss, params, vectors, batches);
    const y = joined(products);
    for (const tensor of [...vectors, ...products]) tensor.dispose();
    return y;
  };
}
