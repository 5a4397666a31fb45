import { track, type Tensor } from "../tensor/index.js";
import { activeContexts, withContexts } from "./context.js";
import { Forward } from "./forward.js";

/** The derivative of `fn()` along the direction `v` of x; other contexts see it being computed. Zero is `undefined`. */
export function directional(fn: () => Tensor, x: Tensor, v: Tensor): Tensor | undefined {
  const outer = activeContexts();
  const forward = new Forward(new Map([[x, v]]), outer);
  try {
    const y = withContexts([...outer, forward], fn);
    const tangent = forward.take([y]).get(y);
    if (tangent !== undefined) track(tangent);
    return tangent;
  } finally {
    forward.end();
  }
}
