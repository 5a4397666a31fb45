import { sgdMomentumStep } from "../ops/sgd-momentum-step.js";
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

export interface SGDOptions extends OptimizerOptions {
  /** Default 0.1. */
  readonly lr?: Scheduled | undefined;
  /** In [0, 1). Default 0.9. */
  readonly momentum?: Scheduled | undefined;
  /** Default false. */
  readonly nesterov?: boolean | undefined;
  /** Default 0; added to the gradient (L2), not decoupled. */
  readonly weightDecay?: Scheduled | undefined;
}

const numbers: Numbers<SGDOptions, "lr" | "momentum" | "weightDecay"> = {
  lr: { of: ({ lr }) => lr, otherwise: 0.1, range: [0, Infinity] },
  momentum: { of: ({ momentum }) => momentum, otherwise: 0.9, range: belowOne },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
};

/**
 * Gradient descent with momentum: `buffer = momentum buffer + g`, `theta -= lr buffer` (Nesterov: `theta -= lr (g + momentum
 * buffer)`). One float of state and 20 bytes of memory traffic an element.
 *
 * @example
 * const optimizer = new SGD(model.parameters(), { lr: { schedule: "cosine", from: 0.1, steps: 1000 } });
 * const { loss } = await optimizer.step(() => crossEntropy(model.forward(x), y));
 */
export class SGD extends Optimizer<SGDOptions, keyof typeof numbers> {
  constructor(params: Iterable<Parameter>, options: WithGroups<SGDOptions> = {}) {
    super("SGD", params, options, numbers);
    for (const slot of this.slots) this.addState(slot, "buffer");
  }

  /** @internal How it averages gradients at the first step, in the words of FOSI. */
  get averaging(): "none" | "heavyBall" | "nesterov" {
    if (this.slots.every((slot) => this.at(slot, 0).momentum === 0)) return "none";
    return this.options.nesterov === true ? "nesterov" : "heavyBall";
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    await Promise.all(
      this.slots.map(async (slot) => {
        using theta = flat(slot.tensor);
        using grad = flat(item(gradients, slot.index));
        using buffer = flat(stateOf(slot, "buffer"));
        const { nesterov = false } = slot.options;
        const options = { ...this.at(slot, step), nesterov, checkFinite: false };
        await sgdMomentumStep({ theta, grad, buffer }, options);
      }),
    );
    return {};
  }
}
