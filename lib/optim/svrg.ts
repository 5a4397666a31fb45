import { valueAndGrad } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { flat, item } from "../ops/tensor-mean.js";
import { axpby } from "../ops/vector-update.js";
import type { Tensor } from "../tensor/index.js";
import { atPoint } from "./at-point.js";
import {
  meanOver,
  Optimizer,
  stateOf,
  type Evaluation,
  type LossFunction,
  type Numbers,
  type OptimizerOptions,
  type Question,
  type StepOptions,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import type { Scheduled } from "./schedule.js";

export interface SVRGOptions extends OptimizerOptions {
  /** 0.1 / L is safe for losses of smoothness L. Default 0.1. */
  readonly lr?: Scheduled | undefined;
  /** Default 0; added to the gradient (L2). */
  readonly weightDecay?: Scheduled | undefined;
}

export interface SVRGData {
  /** How many mini-batches the data has: the full loss is the mean of `fullLoss(0)` to `fullLoss(batches - 1)`. */
  readonly batches: number;
  /** Steps from one snapshot to the next. Default 2 batches; 5 batches where the loss is not convex. */
  readonly innerSteps?: number | undefined;
}

export interface SVRGStepOptions extends StepOptions {
  /** The loss of each mini-batch of the data. Needed whenever `snapshotDue`. */
  readonly fullLoss?: LossFunction | undefined;
}

interface SVRGEvaluation extends Evaluation {
  /** The gradients of the step's batch at the snapshot. */
  readonly old?: readonly Tensor[];
  /** The full gradient here, when a snapshot is due. */
  readonly full?: readonly Tensor[];
}

const numbers: Numbers<SVRGOptions, "lr" | "weightDecay"> = {
  lr: { of: ({ lr }) => lr, otherwise: 0.1, range: [0, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
};

/**
 * SVRG: gradient descent along `grad f_i(w) - grad f_i(w~) + grad F(w~)`, whose variance falls to zero as w and the snapshot
 * w~ approach the minimum, so that a constant step converges linearly on strongly convex losses. Every `innerSteps` steps the
 * point becomes the snapshot, which costs `batches` gradients; every other step costs two. Two floats of state an element.
 * Anything random in the loss must be the same in both evaluations of a step.
 *
 * Source: Johnson, Zhang, Accelerating stochastic gradient descent using predictive variance reduction, 2013; Bottou, Curtis,
 * Nocedal, 2018, section 5.3. The next snapshot is the last point, not one drawn at random.
 */
export class SVRG extends Optimizer<SVRGOptions, "lr" | "weightDecay", object, SVRGStepOptions> {
  readonly #batches: number;
  readonly #innerSteps: number;

  constructor(params: Iterable<Parameter>, options: WithGroups<SVRGOptions> & SVRGData) {
    const fn = "SVRG";
    super(fn, params, options, numbers);
    const { batches, innerSteps = 2 * batches } = options;
    checkInteger(fn, "batches", batches, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "innerSteps", innerSteps, 1, Number.MAX_SAFE_INTEGER);
    this.#batches = batches;
    this.#innerSteps = innerSteps;
    for (const slot of this.slots)
      for (const key of ["snapshot", "fullGradient"]) this.addState(slot, key);
  }

  /** Whether the next step begins with a snapshot. */
  get snapshotDue(): boolean {
    return this.steps % this.#innerSteps === 0;
  }

  protected override evaluate(question: Question<SVRGStepOptions>): SVRGEvaluation {
    const { fn, microBatches } = question;
    const { fullLoss } = question.options;
    const evaluation = super.evaluate(question);
    if (!this.snapshotDue) {
      const point = this.slots.map((slot) => stateOf(slot, "snapshot"));
      const old = atPoint("SVRG.step", this.tensors(), point, () =>
        this.#gradients(microBatches, fn),
      );
      return { ...evaluation, old };
    }
    if (typeof fullLoss !== "function")
      throw new ArgumentError(
        expected("SVRG.step", "a function, since a snapshot is due", "fullLoss", fullLoss),
      );
    return { ...evaluation, full: this.#gradients(this.#batches, fullLoss) };
  }

  #gradients(batches: number, fn: LossFunction): readonly Tensor[] {
    const { loss, gradients } = meanOver(batches, (k) => valueAndGrad(() => fn(k), this.tensors()));
    loss.dispose();
    return gradients;
  }

  protected update({ gradients, old, full }: SVRGEvaluation, step: number): Promise<object> {
    for (const slot of this.slots) {
      const { lr, weightDecay } = this.at(slot, step);
      using theta = flat(slot.tensor);
      using mean = flat(stateOf(slot, "fullGradient"));
      if (full) {
        using fresh = flat(item(full, slot.index));
        axpby(1, fresh, 0, mean);
        copyInto("SVRG.step", slot.tensor, stateOf(slot, "snapshot"));
      }
      using direction = mean.contiguous();
      if (old) {
        // At the snapshot itself the two gradients of the batch are one.
        using here = flat(item(gradients, slot.index));
        using there = flat(item(old, slot.index));
        axpby(1, here, 1, direction);
        axpby(-1, there, 1, direction);
      }
      axpby(weightDecay, theta, 1, direction);
      if (lr > 0) axpby(-lr, direction, 1, theta);
    }
    return Promise.resolve({});
  }
}
