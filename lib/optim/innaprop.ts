import { ArgumentError, expected } from "../errors.js";
import { innapropStep } from "../ops/innaprop-step.js";
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

export interface INNApropOptions extends OptimizerOptions {
  /** Below beta. Default 1e-3. */
  readonly lr?: Scheduled | undefined;
  /** Viscous damping. Default 0.1. The authors recommend (alpha, beta) = (0.1, 0.9) or (2, 2). */
  readonly alpha?: Scheduled | undefined;
  /** Damping by the Hessian, > 0. Default 0.9. */
  readonly beta?: Scheduled | undefined;
  /** Decay of the average of the squared gradient, in [0, 1). Default 0.999. */
  readonly sigma?: Scheduled | undefined;
  /** Added to the root. Default 1e-8. */
  readonly eps?: Scheduled | undefined;
  /** Decoupled. Default 0.01. */
  readonly weightDecay?: Scheduled | undefined;
}

type Name = "lr" | "alpha" | "beta" | "sigma" | "eps" | "weightDecay";

const numbers: Numbers<INNApropOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 1e-3, range: [0, Infinity] },
  alpha: { of: ({ alpha }) => alpha, otherwise: 0.1, range: [0, Number.MAX_VALUE] },
  beta: { of: ({ beta }) => beta, otherwise: 0.9, range: [Number.MIN_VALUE, Number.MAX_VALUE] },
  sigma: { of: ({ sigma }) => sigma, otherwise: 0.999, range: belowOne },
  eps: { of: ({ eps }) => eps, otherwise: 1e-8, range: [0, Number.MAX_VALUE] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0.01, range: [0, Infinity] },
};

/**
 * INNAprop: heavy ball with damping by the Hessian, discretised so that no Hessian is computed, on gradients scaled as in
 * RMSprop. Two floats of state and 28 bytes of memory traffic an element, as AdamW.
 *
 * Source: Bolte, Boustany, Pauwels, Purica, A second-order-like optimizer with adaptive gradient scaling for deep learning,
 * 2024, and its code. Ours: the state is psi's distance from where psi rests (see `innapropStep`), so a parameter that is
 * loaded later needs no new first step, and where alpha or beta are schedules this distance is what goes on.
 */
export class INNAprop extends Optimizer<INNApropOptions, Name> {
  constructor(params: Iterable<Parameter>, options: WithGroups<INNApropOptions> = {}) {
    super("INNAprop", params, options, numbers);
    for (const slot of this.slots) for (const key of ["lag", "v"]) this.addState(slot, key);
    this.#ratesAt("INNAprop", 0);
  }

  /** The numbers of every parameter at a step. @throws ArgumentError where lr is not below beta */
  #ratesAt(fn: string, step: number): readonly Record<Name, number>[] {
    return this.slots.map((slot) => {
      const values = this.at(slot, step);
      if (!(values.lr < values.beta)) {
        const below = `a number below beta, which is ${values.beta},`;
        throw new ArgumentError(expected(fn, below, `lr of ${slot.name}`, values.lr));
      }
      return values;
    });
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    const rates = this.#ratesAt("INNAprop.step", step);
    await Promise.all(
      this.slots.map(async (slot) => {
        using theta = flat(slot.tensor);
        using grad = flat(item(gradients, slot.index));
        using lag = flat(stateOf(slot, "lag"));
        using v = flat(stateOf(slot, "v"));
        const options = { ...item(rates, slot.index), step: step + 1, checkFinite: false };
        await innapropStep({ theta, grad, lag, v }, options);
      }),
    );
    return {};
  }
}
