import { hvp, mul } from "../autodiff/index.js";
import { rademacherProbes } from "../curvature/probes.js";
import { item, TensorMean } from "../ops/tensor-mean.js";
import type { Tensor } from "../tensor/index.js";
import type { Evaluation, LossFunction } from "./optimizer.js";

/** Which probe of Hutchinson's estimate: the same key draws the same signs on every device. */
export interface ProbeKey {
  readonly seed: number;
  readonly step: number;
  readonly samples: number;
}

/** Loss, gradient and an estimate of the Hessian's diagonal for each parameter. */
export interface DiagonalEvaluation extends Evaluation {
  /** Mean of `z o Hz`, one for each parameter; the step frees them. */
  readonly diagonals: readonly Tensor[];
}

/** One sample: one product with the Hessian of the whole model. */
function sample(
  fn: () => Tensor,
  params: readonly Tensor[],
  key: ProbeKey,
  stream: number,
): DiagonalEvaluation {
  const { seed, step } = key;
  const zs = rademacherProbes(params, { seed, step, stream }).map(({ signs }) => signs);
  try {
    const { value, gradients, products } = hvp(fn, params, zs);
    const diagonals = products.map((product, i) => {
      const diagonal = mul(product, item(zs, i));
      product.dispose();
      return diagonal;
    });
    return { loss: value, gradients, diagonals };
  } finally {
    for (const z of zs) z.dispose();
  }
}

/**
 * Loss, gradient and Hutchinson's estimate of the diagonal, the mean over micro-batches and samples. The signs of a sample
 * are the same in every micro-batch, so that a mean of losses has the estimate of its mean.
 *
 * Cost: about three gradients for each sample.
 */
export function hessianDiagonal(
  fn: LossFunction,
  params: readonly Tensor[],
  microBatches: number,
  key: ProbeKey,
): DiagonalEvaluation {
  const sum = new TensorMean();
  try {
    for (let k = 0; k < microBatches; ++k) {
      for (let j = 0; j < key.samples; ++j) {
        const { loss, gradients, diagonals } = sample(() => fn(k), params, key, j);
        sum.add([loss, ...gradients, ...diagonals]);
      }
    }
    const [loss, ...rest] = sum.mean() as [Tensor, ...Tensor[]];
    return {
      loss,
      gradients: rest.slice(0, params.length),
      diagonals: rest.slice(params.length),
    };
  } catch (error) {
    sum.dispose();
    throw error;
  }
}
