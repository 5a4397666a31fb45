import { checkInteger } from "../ops/check.js";
import { flat, item } from "../ops/tensor-mean.js";
import { axpby } from "../ops/vector-update.js";
import type { Tensor } from "../tensor/index.js";
import {
  Optimizer,
  stateOf,
  type Evaluation,
  type Numbers,
  type OptimizerOptions,
  type Question,
  type StepOptions,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import type { Scheduled } from "./schedule.js";

export interface SAGOptions extends OptimizerOptions {
  /** For losses of smoothness L, SAGA is safe with 1 / (3 L), SAG with 1 / (16 L). Default 1 / 3 and 1 / 16. */
  readonly lr?: Scheduled | undefined;
  /** Default 0; added to the gradient (L2). */
  readonly weightDecay?: Scheduled | undefined;
}

export interface SAGData {
  /** How many mini-batches the data has; the table has a gradient of each. */
  readonly batches: number;
}

export interface SAGStepOptions extends StepOptions {
  /** Which mini-batch the loss of this step is of, 0 to batches - 1. Default: `steps` modulo batches. */
  readonly batch?: number | undefined;
}

type Name = "lr" | "weightDecay";

const numbersFor = (lr: number): Numbers<SAGOptions, Name> => ({
  lr: { of: (options) => options.lr, otherwise: lr, range: [0, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
});

/** A table of the newest gradient of each mini-batch, and its sum. */
abstract class GradientTable extends Optimizer<SAGOptions, Name, object, SAGStepOptions> {
  readonly #batches: number;
  /** Which batches have been seen. */
  #seen: readonly boolean[];
  #batch = 0;

  protected constructor(
    fn: string,
    params: Iterable<Parameter>,
    options: WithGroups<SAGOptions> & SAGData,
    lr: number,
  ) {
    super(fn, params, options, numbersFor(lr));
    const { batches } = options;
    checkInteger(fn, "batches", batches, 1, 2 ** 24);
    this.#batches = batches;
    this.#seen = Array.from({ length: batches }, () => false);
    for (const slot of this.slots) {
      this.addState(slot, "table", [batches, slot.tensor.size]);
      this.addState(slot, "sum");
    }
  }

  protected override evaluate(question: Question<SAGStepOptions>): Evaluation {
    const { batch = this.steps % this.#batches } = question.options;
    checkInteger(`${this.name}.step`, "batch", batch, 0, this.#batches - 1);
    this.#batch = batch;
    return super.evaluate(question);
  }

  /** How much of `g - T_i` and of the sum of the table before it is in the direction. */
  protected abstract shares(batches: number, seen: number): { change: number; sum: number };

  protected update({ gradients }: Evaluation, step: number): Promise<object> {
    const batch = this.#batch;
    this.#seen = this.#seen.map((seen, i) => seen || i === batch);
    const seen = this.#seen.filter(Boolean).length;
    const shares = this.shares(this.#batches, seen);
    for (const slot of this.slots) {
      const { lr, weightDecay } = this.at(slot, step);
      using theta = flat(slot.tensor);
      using sum = flat(stateOf(slot, "sum"));
      using grad = flat(item(gradients, slot.index));
      using row = stateOf(slot, "table").slice(0, batch, batch + 1);
      using entry = row.reshape([slot.tensor.size]);
      using change: Tensor = grad.contiguous();
      axpby(-1, entry, 1, change);
      using direction: Tensor = sum.contiguous();
      axpby(shares.change, change, shares.sum, direction);
      axpby(weightDecay, theta, 1, direction);
      axpby(1, change, 1, sum);
      axpby(1, grad, 0, entry);
      if (lr > 0) axpby(-lr, direction, 1, theta);
    }
    return Promise.resolve({});
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    return { seen: this.#seen.map(Number).join("") };
  }

  protected override loadNumbers(numbers: ReadonlyMap<string, string>): void {
    this.#seen = Array.from(numbers.get("seen") ?? "", (one) => one === "1");
  }
}

/**
 * SAGA: gradient descent along `g_i - T_i + mean(T)` with a table T of the newest gradient of each mini-batch. Unbiased from
 * the first step on, the table being zero where a batch has not been seen; its variance vanishes at the minimum, so a
 * constant step converges linearly on strongly convex losses. One gradient a step; `batches` floats of state an element.
 *
 * Source: Defazio, Bach, Lacoste-Julien, SAGA, 2014.
 *
 * @example
 * const optimizer = new SAGA(model.parameters(), { batches: 100, lr: 0.01 });
 * await optimizer.step(() => lossOf(batches[i]), { batch: i });
 */
export class SAGA extends GradientTable {
  constructor(params: Iterable<Parameter>, options: WithGroups<SAGOptions> & SAGData) {
    super("SAGA", params, options, 1 / 3);
  }

  protected shares(batches: number): { change: number; sum: number } {
    return { change: 1, sum: 1 / batches };
  }
}

/**
 * SAG: gradient descent along the mean of the newest gradients of all mini-batches, `mean(T) + (g_i - T_i) / batches`, over
 * those seen so far. Biased, with less variance than SAGA; otherwise as there.
 *
 * Source: Le Roux, Schmidt, Bach, A stochastic gradient method with an exponential convergence rate, 2012.
 */
export class SAG extends GradientTable {
  constructor(params: Iterable<Parameter>, options: WithGroups<SAGOptions> & SAGData) {
    super("SAG", params, options, 1 / 16);
  }

  protected shares(_: number, seen: number): { change: number; sum: number } {
    return { change: 1 / seen, sum: 1 / seen };
  }
}
