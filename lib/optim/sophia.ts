import { mul, valueAndGrad } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { sophiaStep } from "../ops/sophia-step.js";
import { axpby } from "../ops/vector-update.js";
import { flat, item } from "../ops/tensor-mean.js";
import type { Tensor } from "../tensor/index.js";
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
import { hessianDiagonal } from "./probes.js";
import { belowOne, type Scheduled } from "./schedule.js";

export interface SophiaOptions extends OptimizerOptions {
  /** The most a parameter moves in a step. Default 1e-4. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the averages of the gradient and of the curvature, in [0, 1). Default [0.965, 0.99]. */
  readonly betas?: readonly [Scheduled, Scheduled] | undefined;
  /** Scale of the curvature: with a larger one fewer elements are clipped. Default 0.04. */
  readonly rho?: Scheduled | undefined;
  /** Decoupled. Default 0.1. */
  readonly weightDecay?: Scheduled | undefined;
}

/** Options that hold for all parameters together. */
export interface SophiaCurvature {
  /**
   * "gnb" (default): squared gradients for labels drawn from the model, by `sampledLoss` of `step` (Sophia-G).
   * "hutchinson": `z o Hz` (Sophia-H). "empirical": squared gradients of the loss itself.
   */
  readonly curvature?: "gnb" | "hutchinson" | "empirical" | undefined;
  /** Independent label draws in the mean of the loss, e.g. tokens a step; needed unless "hutchinson". */
  readonly batch?: number | undefined;
  /** The curvature is estimated at step 0 and then every so many steps, before the update. Default 10. */
  readonly updateInterval?: number | undefined;
  /** Of Hutchinson's probes. Default 0. */
  readonly seed?: number | undefined;
}

export interface SophiaStepOptions extends StepOptions {
  /**
   * The mean loss against labels drawn from the model's own distribution. Needed for "gnb" whenever `curvatureDue`.
   * Synchronous, one element; the labels are no function of the parameters.
   */
  readonly sampledLoss?: LossFunction | undefined;
}

export interface SophiaStats {
  /** Share of elements that moved by all of lr. Tune rho so that it is between 0.5 and 0.9. */
  readonly clippedFraction: number;
}

interface SophiaEvaluation extends Evaluation {
  /** What the curvature is made of, when it is due: gradients to be squared, or z o Hz. */
  readonly curvature?: readonly Tensor[];
}

type Name = "lr" | "beta1" | "beta2" | "rho" | "weightDecay";

const numbers: Numbers<SophiaOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 1e-4, range: [0, Infinity] },
  beta1: { of: ({ betas }) => betas?.[0], otherwise: 0.965, range: belowOne },
  beta2: { of: ({ betas }) => betas?.[1], otherwise: 0.99, range: belowOne },
  rho: { of: ({ rho }) => rho, otherwise: 0.04, range: [Number.MIN_VALUE, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0.1, range: [0, Infinity] },
};

/**
 * Sophia: momentum divided by a diagonal curvature and clipped, so that no element moves by more than lr. The curvature costs
 * an extra gradient ("gnb") or Hessian product every `updateInterval` steps; two floats of state, 24 bytes an element.
 *
 * Source: Liu et al., Sophia: a scalable stochastic second-order optimizer for language model pre-training, 2023, and its
 * code. Ours: the curvature is first estimated before step 0, where the code begins with sign descent.
 */
export class Sophia extends Optimizer<SophiaOptions, Name, SophiaStats, SophiaStepOptions> {
  readonly #curvature: "gnb" | "hutchinson" | "empirical";
  readonly #batch: number;
  readonly #interval: number;
  readonly #seed: number;

  constructor(
    params: Iterable<Parameter>,
    options: WithGroups<SophiaOptions> & SophiaCurvature = {},
  ) {
    const fn = "Sophia";
    super(fn, params, options, numbers);
    const { curvature = "gnb", batch, updateInterval = 10, seed = 0 } = options;
    if (!["gnb", "hutchinson", "empirical"].includes(curvature))
      throw new ArgumentError(
        expected(fn, '"gnb", "hutchinson" or "empirical"', "curvature", curvature),
      );
    if (curvature !== "hutchinson" && !(typeof batch === "number" && batch > 0 && batch < Infinity))
      throw new ArgumentError(
        expected(fn, "the number of label draws in the mean", "batch", batch),
      );
    checkInteger(fn, "updateInterval", updateInterval, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
    this.#curvature = curvature;
    this.#batch = batch ?? 1;
    this.#interval = updateInterval;
    this.#seed = seed;
    for (const slot of this.slots) for (const key of ["m", "h"]) this.addState(slot, key);
  }

  /** Whether the next step estimates the curvature anew. */
  get curvatureDue(): boolean {
    return this.steps % this.#interval === 0;
  }

  protected override evaluate(question: Question<SophiaStepOptions>): SophiaEvaluation {
    if (!this.curvatureDue) return super.evaluate(question);
    const { fn, microBatches } = question;
    const { sampledLoss } = question.options;
    if (this.#curvature === "hutchinson") {
      const key = { seed: this.#seed, step: this.steps, samples: 1 };
      const { loss, gradients, diagonals } = hessianDiagonal(fn, this.tensors(), microBatches, key);
      return { loss, gradients, curvature: diagonals };
    }
    if (this.#curvature === "gnb" && typeof sampledLoss !== "function") {
      throw new ArgumentError(
        expected(
          "Sophia.step",
          "a function, since the curvature is due",
          "sampledLoss",
          sampledLoss,
        ),
      );
    }
    const evaluation = super.evaluate(question);
    if (sampledLoss === undefined || this.#curvature === "empirical")
      return {
        ...evaluation,
        curvature: evaluation.gradients.map(flat),
      };
    const sampled = meanOver(microBatches, (k) =>
      valueAndGrad(() => sampledLoss(k), this.tensors()),
    );
    sampled.loss.dispose();
    return { ...evaluation, curvature: sampled.gradients };
  }

  protected async update(evaluation: SophiaEvaluation, step: number): Promise<SophiaStats> {
    const hutchinson = this.#curvature === "hutchinson";
    const clipped = await Promise.all(
      this.slots.map(async (slot) => {
        const { beta2, ...options } = this.at(slot, step);
        using theta = flat(slot.tensor);
        using grad = flat(item(evaluation.gradients, slot.index));
        using m = flat(stateOf(slot, "m"));
        using h = flat(stateOf(slot, "h"));
        if (evaluation.curvature) {
          using fresh = flat(item(evaluation.curvature, slot.index));
          using squared = hutchinson ? flat(fresh) : mul(fresh, fresh);
          axpby(1 - beta2, squared, beta2, h);
        }
        const curvature = hutchinson ? ("hutchinson" as const) : { batch: this.#batch };
        return await sophiaStep(
          { theta, grad, m, h },
          { ...options, curvature, checkFinite: false },
        );
      }),
    );
    const size = this.slots.reduce((sum, { tensor }) => sum + tensor.size, 0);
    return { clippedFraction: clipped.reduce((sum, count) => sum + count, 0) / Math.max(1, size) };
  }
}
