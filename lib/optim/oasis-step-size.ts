import { abs, maximum, reciprocal } from "../autodiff/index.js";
import type { Tensor } from "../tensor/index.js";

/** A step size, and its ratio to the one before. */
export interface Rate {
  readonly stepSize: number;
  readonly ratio: number;
}

/** Squared norms of `w - w before` in the metric D, and of `g - g before` in its inverse. */
export interface Changes {
  readonly moved: number;
  readonly bent: number;
}

/**
 * The step size of OASIS: `min(sqrt(1 + ratio) eta, ||w - w'||_D / (2 ||g - g'||_(1/D)), largest)`. Where the gradient did not
 * change the second is infinite; where the point did not, or both are infinite, eta stays.
 */
export function nextStepSize({ stepSize, ratio }: Rate, changes: Changes, largest: number): Rate {
  const { moved, bent } = changes;
  const grown = ratio === Infinity ? Infinity : Math.sqrt(1 + ratio) * stepSize;
  const smooth = bent > 0 ? Math.sqrt(moved / bent) / 2 : Infinity;
  const next = moved > 0 ? Math.min(grown, smooth) : Infinity;
  const chosen = Math.min(next === Infinity ? stepSize : next, largest);
  return { stepSize: chosen, ratio: stepSize > 0 ? chosen / stepSize : 1 };
}

/** `max(|curvature|, alpha)` and its reciprocal. */
export function preconditionerOf(curvature: Tensor, alpha: number) {
  using size = abs(curvature);
  const metric = maximum(size, alpha);
  const inverse = reciprocal(metric);
  const dispose = () => {
    metric.dispose();
    inverse.dispose();
  };
  return { metric, inverse, [Symbol.dispose]: dispose };
}
