import { copyInto } from "../ops/copy.js";
import { item } from "../ops/tensor-mean.js";
import type { Tensor } from "../tensor/index.js";

/**
 * @internal Runs a synchronous body with the parameters at another point, of the same shapes, and puts them back, to the bit,
 * also when it throws.
 */
export function atPoint<T>(
  fn: string,
  params: readonly Tensor[],
  point: readonly Tensor[],
  body: () => T,
): T {
  const here = params.map((tensor) => tensor.contiguous());
  try {
    params.forEach((tensor, i) => {
      copyInto(fn, item(point, i), tensor);
    });
    return body();
  } finally {
    params.forEach((tensor, i) => {
      const saved = item(here, i);
      copyInto(fn, saved, tensor);
      saved.dispose();
    });
  }
}
