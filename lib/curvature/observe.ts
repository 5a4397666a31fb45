import { differentiable } from "../autodiff/index.js";
import { withContexts } from "../autodiff/context.js";
import { alias } from "../autodiff/ops/views.js";
import type { Tensor } from "../tensor/index.js";
import type { NamedLayer } from "./layer-rows.js";

/** Takes one use of a layer as the backward pass comes by. What it makes and does not `keep` is freed. */
export type Observer = (index: number, input: Tensor, cotangent: Tensor) => void;

const observed = differentiable<[Tensor], (cotangent: Tensor) => void>("observe", {
  vjp({ attributes: see }, g) {
    see(g);
    return [g];
  },
  jvp: (_, [t]) => t,
});

/**
 * @internal Runs `body`, in which a gradient is taken, and shows the observer every use of the layers that the result depends
 * on: what went in, and the derivative by what came out. Their weights must be among what the gradient is taken by.
 */
export function observeLayers<T>(layers: readonly NamedLayer[], see: Observer, body: () => T): T {
  const before = layers.map(({ layer }) => layer.hook);
  layers.forEach(({ layer }, index) => {
    const outer = layer.hook;
    layer.hook = (input, output) => {
      const y = outer === undefined ? output : outer(input, output);
      // A view that nothing follows: the operation itself is what joins it to y.
      const twin = withContexts([], () => alias(y));
      return observed([y], twin, (cotangent) => {
        see(index, input, cotangent);
      });
    };
  });
  try {
    return body();
  } finally {
    layers.forEach(({ layer }, index) => (layer.hook = before[index]));
  }
}
