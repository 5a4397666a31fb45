import { adamwStep } from "../ops/adamw-step.js";
import { flat, item } from "../ops/tensor-mean.js";
import {
  Optimizer,
  stateOf,
  type Evaluation,
  type Numbers,
  type OptimizerOptions,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { belowOne, type Scheduled } from "./schedule.js";

export interface AdamWOptions extends OptimizerOptions {
  /** Default 1e-3. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the averages of the gradient and of its square, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [Scheduled, Scheduled] | undefined;
  /** Added to the root. Default 1e-8. */
  readonly eps?: Scheduled | undefined;
  /** Decoupled. Default 0.01. */
  readonly weightDecay?: Scheduled | undefined;
}

const numbers: Numbers<AdamWOptions, "lr" | "beta1" | "beta2" | "eps" | "weightDecay"> = {
  lr: { of: ({ lr }) => lr, otherwise: 1e-3, range: [0, Infinity] },
  beta1: { of: ({ betas }) => betas?.[0], otherwise: 0.9, range: belowOne },
  beta2: { of: ({ betas }) => betas?.[1], otherwise: 0.999, range: belowOne },
  eps: { of: ({ eps }) => eps, otherwise: 1e-8, range: [0, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0.01, range: [0, Infinity] },
};

/**
 * Adam with decoupled weight decay: `theta -= lr (mhat / (sqrt(vhat) + eps) + weightDecay theta)`. Two floats of state and 28
 * bytes of memory traffic an element. Source: Loshchilov and Hutter, 2019.
 */
export class AdamW extends Optimizer<AdamWOptions, keyof typeof numbers> {
  constructor(params: Iterable<Parameter>, options: WithGroups<AdamWOptions> = {}) {
    super("AdamW", params, options, numbers);
    for (const slot of this.slots) for (const key of ["m", "v"]) this.addState(slot, key);
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    await Promise.all(
      this.slots.map(async (slot) => {
        using theta = flat(slot.tensor);
        using grad = flat(item(gradients, slot.index));
        using m = flat(stateOf(slot, "m"));
        using v = flat(stateOf(slot, "v"));
        const { beta1, beta2, ...rest } = this.at(slot, step);
        const options = {
          ...rest,
          betas: [beta1, beta2] as const,
          step: step + 1,
          checkFinite: false,
        };
        await adamwStep({ theta, grad, m, v }, options);
      }),
    );
    return {};
  }
}
