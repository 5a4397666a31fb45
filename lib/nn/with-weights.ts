import type { Tensor } from "../tensor/index.js";
import type { Layer } from "./layer.js";

/** A layer with a weight, such as `Linear` and `Conv2d`. */
export type WeightLayer = Layer & { readonly weight: Tensor };

/**
 * Runs `body` with other tensors in the place of layers' weights, for example products with masks that gradients are taken of.
 * Synchronous: with `await` inside, other code would see them too.
 */
export function withWeights<T>(weights: ReadonlyMap<WeightLayer, Tensor>, body: () => T): T {
  const own = new Map<{ weight: Tensor }, Tensor>();
  try {
    for (const [layer, weight] of weights) {
      own.set(layer, layer.weight);
      (layer as { weight: Tensor }).weight = weight;
    }
    return body();
  } finally {
    for (const [layer, weight] of own) layer.weight = weight;
  }
}
