import type { Tensor } from "../../tensor/index.js";
import { withContexts } from "../context.js";
import { differentiable } from "../define.js";
import { alias } from "./views.js";

const watched = differentiable<[Tensor], (gradient: Tensor) => void>("watchGradient", {
  vjp({ attributes: look }, g) {
    look(g);
    return [g];
  },
  jvp: (_, [t]) => t,
});

/** @internal x itself, as a view; when a gradient is taken, `look` sees the one by it, which is freed afterwards. */
export function watchGradient(x: Tensor, look: (gradient: Tensor) => void): Tensor {
  const view = withContexts([], () => alias(x));
  return watched([x], view, look);
}
