import { type RandomKey, rademacher } from "../ops/random.js";
import type { Tensor } from "../tensor/index.js";

/** Random signs for one tensor of a model, and what they are drawn from. */
export interface Probe {
  readonly signs: Tensor;
  readonly key: RandomKey;
}

/**
 * @internal One vector of random signs over all tensors, in their order: the same key gives the same signs however the vector
 * is cut. The caller disposes them.
 */
export function rademacherProbes(tensors: readonly Tensor[], key: RandomKey): Probe[] {
  let index = 0;
  return tensors.map(({ shape, size, device }) => {
    const own = { ...key, index };
    index += size;
    return { signs: rademacher(shape, { ...own, device }), key: own };
  });
}
