import { alias, dropout } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import type { Tensor } from "../tensor/index.js";
import { InitialValues } from "./init.js";
import { Module } from "./module.js";

const shared = new InitialValues(0);

/** Sets elements to zero at random in training, the same ones for a step; see `dropout` and `Module.setStep`. */
export class Dropout extends Module {
  readonly #key: { readonly seed: number; readonly stream: number };
  #step = 0;

  /** @param streams where the layer takes its stream of random numbers from; default one that all share, of seed 0. */
  constructor(
    readonly probability: number,
    streams: InitialValues = shared,
  ) {
    super();
    if (!(probability >= 0 && probability < 1))
      throw new ArgumentError(
        expected("Dropout", "a number from 0 to below 1", "probability", probability),
      );
    this.#key = streams.next();
  }

  protected override onStep(step: number): void {
    checkInteger("setStep", "step", step, 0, 2 ** 32 - 1);
    this.#step = step;
  }

  forward(x: Tensor): Tensor {
    if (!this.training || this.probability === 0) return alias(x);
    return dropout(x, this.probability, { ...this.#key, step: this.#step });
  }
}
