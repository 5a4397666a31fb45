import { ArgumentError, expected } from "../errors.js";
import { hessianOperator, joined, parted } from "../curvature/hessian-operator.js";
import { cg } from "../linalg/index.js";
import { checkInteger } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { flat, item } from "../ops/tensor-mean.js";
import { vectorDot, vectorNorm } from "../ops/vector-reduce.js";
import { axpby } from "../ops/vector-update.js";
import { scope, type Tensor } from "../tensor/index.js";
import {
  Optimizer,
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

export interface NewtonCGOptions extends OptimizerOptions {
  /** The first step tried along the direction. Default 1. */
  readonly lr?: Scheduled | undefined;
}

export interface NewtonCGSearch {
  /** Products with the Hessian a step at most, in conjugate gradients. Default 10. */
  readonly maxIterations?: number | undefined;
  /** Relative residual that ends them. Default min(0.5, sqrt(|g|)), in which the steps are superlinear. */
  readonly tolerance?: number | undefined;
  /** Halvings of the step at most. Default 20. */
  readonly maxHalvings?: number | undefined;
}

export interface NewtonCGStepOptions extends StepOptions {
  /** Loss of the part of the batch whose Hessian is used, 5 to 20 % of it. Default: the loss of the step. */
  readonly curvatureLoss?: LossFunction | undefined;
}

export interface NewtonCGStats {
  /** Of the step taken along the direction; 0 where no step lowered the loss enough, and nothing moved. */
  readonly stepSize: number;
  /** Products with the Hessian made by conjugate gradients. */
  readonly products: number;
}

const numbers: Numbers<NewtonCGOptions, "lr"> = {
  lr: { of: ({ lr }) => lr, otherwise: 1, range: [0, Number.MAX_VALUE] },
};

/** Armijo's share of the promised decrease. */
const sufficient = 1e-4;

/**
 * Subsampled Newton-CG: an inexact Newton step from a few conjugate-gradient iterations on the Hessian of a part of the batch,
 * and backtracking on the loss of the whole of it. Where a direction of negative curvature is met the iterate so far is used,
 * or the gradient if it is the first. No state; a step costs a gradient, a Hessian product an iteration, and a loss a trial.
 *
 * Source: Bottou, Curtis, Nocedal, Optimization methods for large-scale machine learning, 2018, section 6.1.
 */
export class NewtonCG extends Optimizer<NewtonCGOptions, "lr", NewtonCGStats, NewtonCGStepOptions> {
  readonly #maxIterations: number;
  readonly #tolerance: number | undefined;
  readonly #maxHalvings: number;
  #question: Question<NewtonCGStepOptions> | undefined;

  constructor(
    params: Iterable<Parameter>,
    options: WithGroups<NewtonCGOptions> & NewtonCGSearch = {},
  ) {
    const fn = "NewtonCG";
    super(fn, params, options, numbers);
    const { maxIterations = 10, tolerance, maxHalvings = 20 } = options;
    checkInteger(fn, "maxIterations", maxIterations, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "maxHalvings", maxHalvings, 0, 1000);
    if (tolerance !== undefined && !(tolerance > 0 && tolerance < 1))
      throw new ArgumentError(expected(fn, "a number between 0 and 1", "tolerance", tolerance));
    this.#maxIterations = maxIterations;
    this.#tolerance = tolerance;
    this.#maxHalvings = maxHalvings;
  }

  protected override evaluate(question: Question<NewtonCGStepOptions>): Evaluation {
    this.#question = question;
    return super.evaluate(question);
  }

  protected async update(evaluation: Evaluation, step: number): Promise<NewtonCGStats> {
    const question = this.#question;
    this.#question = undefined;
    using g = joined(evaluation.gradients);
    const norm = await numberOf(vectorNorm(g));
    if (norm === 0 || question === undefined) return { stepSize: 0, products: 0 };
    const { fn, microBatches, options } = question;
    const { curvatureLoss } = options;
    const operator = hessianOperator(
      curvatureLoss ?? fn,
      this.parameters,
      curvatureLoss ? 1 : microBatches,
    );
    const solved = await cg(operator, g, {
      tolerance: this.#tolerance ?? Math.min(0.5, Math.sqrt(norm)),
      maxIterations: this.#maxIterations,
    });
    solved.direction?.dispose();
    using found = solved.x;
    const nothing = (await numberOf(vectorNorm(found))) === 0;
    const stepSize = await this.#search(evaluation, nothing ? g : found, g, {
      fn,
      microBatches,
      step,
    });
    return { stepSize, products: solved.iterations };
  }

  /** Moves the parameters against the direction as far as lowers the loss enough; how far. */
  async #search(
    evaluation: Evaluation,
    direction: Tensor,
    g: Tensor,
    { fn, microBatches, step }: { fn: LossFunction; microBatches: number; step: number },
  ): Promise<number> {
    const before = Number((await evaluation.loss.data())[0]);
    const slope = await numberOf(vectorDot(g, direction));
    const start = this.tensors().map((tensor) => tensor.contiguous());
    const parts = parted(direction, this.tensors());
    const rates = this.slots.map((slot) => this.at(slot, step).lr);
    try {
      for (let halving = 0, size = 1; halving <= this.#maxHalvings; ++halving, size /= 2) {
        for (const { index, tensor } of this.slots) {
          copyInto("NewtonCG.step", item(start, index), tensor);
          using theta = flat(tensor);
          using part = flat(item(parts, index));
          const rate = size * item(rates, index);
          if (rate > 0) axpby(-rate, part, 1, theta);
        }
        const loss = await meanLoss(fn, microBatches);
        const promised = sufficient * size * item(rates, 0) * slope;
        if (loss <= before - promised) return size * item(rates, 0);
      }
      for (const { index, tensor } of this.slots)
        copyInto("NewtonCG.step", item(start, index), tensor);
      return 0;
    } finally {
      for (const tensor of [...start, ...parts]) tensor.dispose();
    }
  }
}

async function meanLoss(fn: LossFunction, batches: number): Promise<number> {
  let total = 0;
  for (let k = 0; k < batches; ++k) {
    using loss = scope(() => fn(k));
    total += Number((await loss.data())[0]);
  }
  return total / batches;
}

async function numberOf(scalar: Tensor): Promise<number> {
  using one = scalar;
  return Number((await one.data())[0]);
}
