import { mul, sub, valueAndGrad } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { oasisStep } from "../ops/oasis-step.js";
import { flat, item } from "../ops/tensor-mean.js";
import { vectorDot } from "../ops/vector-reduce.js";
import { axpby } from "../ops/vector-update.js";
import type { Tensor } from "../tensor/index.js";
import { atPoint } from "./at-point.js";
import { nextStepSize, preconditionerOf } from "./oasis-step-size.js";
import {
  meanOver,
  Optimizer,
  stateOf,
  type Evaluation,
  type Numbers,
  type OptimizerOptions,
  type Question,
  type Slot,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { hessianDiagonal } from "./probes.js";
import { belowOne, type Scheduled } from "./schedule.js";

export interface OASISOptions extends OptimizerOptions {
  /** "adaptive": its value at step 0 is the first step size, default 1e-3. "fixed": the step size, default 0.1. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the averages of the gradient and of the curvature, in [0, 1). Default [0, 0.99]; for networks [0.9, 0.999]. */
  readonly betas?: readonly [Scheduled, Scheduled] | undefined;
  /** Smallest |curvature| divided by, > 0. Default 0.01. */
  readonly alpha?: Scheduled | undefined;
  /** Decoupled. Default 0; with "adaptive" put it into the loss, whose smoothness is measured. */
  readonly weightDecay?: Scheduled | undefined;
}

/** Options that hold for all parameters together. */
export interface OASISCurvature {
  /**
   * "adaptive" (default): from the smoothness between the last two points. "fixed": lr.
   */
  readonly stepSize?: "adaptive" | "fixed" | undefined;
  /**
   * For "adaptive", the gradient at the point before: "recompute" (default) on the batch of this step, one more gradient;
   * "reuse" the one of the step before, right where the loss is the same function every step.
   */
  readonly previousGradient?: "recompute" | "reuse" | undefined;
  /** The largest step size of "adaptive". Default Infinity. */
  readonly maxLr?: number | undefined;
  /** Products with the Hessian for the first curvature. Default 10. */
  readonly initialSamples?: number | undefined;
  /** And at every later step. Default 1. */
  readonly samples?: number | undefined;
  /** Of the probes. Default 0. */
  readonly seed?: number | undefined;
}

export interface OASISStats {
  /** The step size of this step. */
  readonly stepSize: number;
}

interface OASISEvaluation extends Evaluation {
  readonly diagonals: readonly Tensor[];
  /** At the point before, when it is computed anew. */
  readonly before?: readonly Tensor[];
}

type Name = "lr" | "beta1" | "beta2" | "alpha" | "weightDecay";

const numbersFor = (lr: number): Numbers<OASISOptions, Name> => ({
  lr: { of: (options) => options.lr, otherwise: lr, range: [0, Infinity] },
  beta1: { of: ({ betas }) => betas?.[0], otherwise: 0, range: belowOne },
  beta2: { of: ({ betas }) => betas?.[1], otherwise: 0.99, range: belowOne },
  alpha: { of: ({ alpha }) => alpha, otherwise: 1e-2, range: [Number.MIN_VALUE, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
});

/**
 * OASIS: the gradient divided by a running Hutchinson estimate of the Hessian's diagonal, cut off below, with a step size that
 * comes from the smoothness of the loss in that metric, or is given. A step costs about three gradients, one more with
 * "recompute"; two floats of state when adaptive, one more for momentum and one more for "reuse".
 *
 * Source: Jahani et al., Doubly adaptive scaled algorithm for machine learning using second-order information, 2022. Ours:
 * the defaults, `maxLr`, and the step size kept where the point or the gradient did not change.
 *
 * @example
 * const optimizer = new OASIS(model.parameters(), { stepSize: "fixed", lr: 0.1, betas: [0.9, 0.999], alpha: 0.1 });
 */
export class OASIS extends Optimizer<OASISOptions, Name, OASISStats> {
  readonly #adaptive: boolean;
  readonly #reuses: boolean;
  readonly #maxLr: number;
  readonly #initialSamples: number;
  readonly #samples: number;
  readonly #seed: number;
  /** The last step size, and its ratio to the one before. */
  #rate = { stepSize: Number.NaN, ratio: Infinity };

  constructor(
    params: Iterable<Parameter>,
    options: WithGroups<OASISOptions> & OASISCurvature = {},
  ) {
    const fn = "OASIS";
    const { stepSize = "adaptive", previousGradient = "recompute", maxLr = Infinity } = options;
    const { initialSamples = 10, samples = 1, seed = 0 } = options;
    super(fn, params, options, numbersFor(stepSize === "fixed" ? 0.1 : 1e-3));
    if (!["adaptive", "fixed"].includes(stepSize))
      throw new ArgumentError(expected(fn, '"adaptive" or "fixed"', "stepSize", stepSize));
    if (!["recompute", "reuse"].includes(previousGradient))
      throw new ArgumentError(
        expected(fn, '"recompute" or "reuse"', "previousGradient", previousGradient),
      );
    if (typeof maxLr !== "number" || !(maxLr > 0))
      throw new ArgumentError(expected(fn, "a number above 0", "maxLr", maxLr));
    checkInteger(fn, "initialSamples", initialSamples, 1, 2 ** 20);
    checkInteger(fn, "samples", samples, 1, 2 ** 20);
    checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
    this.#adaptive = stepSize === "adaptive";
    if (this.#adaptive && options.groups?.some((group) => group.lr !== undefined))
      throw new ArgumentError(
        expected(fn, "one lr for all parameters, the step size being adaptive,", "groups", "lr"),
      );
    this.#reuses = previousGradient === "reuse";
    this.#maxLr = maxLr;
    this.#initialSamples = initialSamples;
    this.#samples = samples;
    this.#seed = seed;
    const keys = ["curvature", "m"];
    if (this.#adaptive) keys.push("previous");
    if (this.#adaptive && this.#reuses) keys.push("gradient");
    for (const slot of this.slots) {
      const averages = slot.options.betas !== undefined && slot.options.betas[0] !== 0;
      for (const key of keys) if (key !== "m" || averages) this.addState(slot, key);
    }
  }

  protected override evaluate({ fn, microBatches }: Question): OASISEvaluation {
    const first = this.steps === 0;
    const key = {
      seed: this.#seed,
      step: this.steps,
      samples: first ? this.#initialSamples : this.#samples,
    };
    const evaluation = hessianDiagonal(fn, this.tensors(), microBatches, key);
    if (first || !this.#adaptive || this.#reuses) return evaluation;
    return { ...evaluation, before: this.#gradientsBefore(fn, microBatches) };
  }

  /** The gradients at the point before; the parameters are there meanwhile. */
  #gradientsBefore(fn: Question["fn"], microBatches: number): readonly Tensor[] {
    const point = this.slots.map((slot) => stateOf(slot, "previous"));
    return atPoint("OASIS.step", this.tensors(), point, () => {
      const { loss, gradients } = meanOver(microBatches, (k) =>
        valueAndGrad(() => fn(k), this.tensors()),
      );
      loss.dispose();
      return gradients;
    });
  }

  protected async update(evaluation: OASISEvaluation, step: number): Promise<OASISStats> {
    const { gradients, diagonals } = evaluation;
    const first = step === 0;
    const at = this.slots.map((slot) => this.at(slot, step));
    if (this.#adaptive && !first) {
      this.slots.forEach((slot) => {
        const { beta2 } = item(at, slot.index);
        using fresh = flat(item(diagonals, slot.index));
        using curvature = flat(stateOf(slot, "curvature"));
        axpby(1 - beta2, fresh, beta2, curvature);
      });
      this.#rate = nextStepSize(this.#rate, await this.#changes(evaluation, at), this.#maxLr);
    }
    if (this.#adaptive && first)
      this.#rate = { stepSize: Math.min(item(at, 0).lr, this.#maxLr), ratio: Infinity };
    await Promise.all(
      this.slots.map(async (slot) => {
        const { lr, beta1, beta2, alpha, weightDecay } = item(at, slot.index);
        if (this.#adaptive) copyInto("OASIS.step", slot.tensor, stateOf(slot, "previous"));
        using theta = flat(slot.tensor);
        using grad = flat(item(gradients, slot.index));
        using diagonal = flat(item(diagonals, slot.index));
        using curvature = flat(stateOf(slot, "curvature"));
        using m = slot.state.has("m") ? flat(stateOf(slot, "m")) : null;
        if (slot.state.has("gradient")) {
          using kept = flat(stateOf(slot, "gradient"));
          axpby(1, grad, 0, kept);
        }
        const state = { theta, grad, diagonal, curvature, ...(m ? { m } : {}) };
        await oasisStep(state, {
          lr: this.#adaptive ? this.#rate.stepSize : lr,
          beta1,
          // The first estimate is taken whole; an adaptive step has averaged before it measured.
          beta2: first ? 0 : this.#adaptive ? 1 : beta2,
          alpha,
          weightDecay,
          step: step + 1,
          checkFinite: false,
        });
      }),
    );
    return { stepSize: this.#adaptive ? this.#rate.stepSize : item(at, 0).lr };
  }

  /** Squared distances of the last two points and of their gradients, in the metric of the curvature and in its inverse. */
  async #changes(evaluation: OASISEvaluation, at: readonly Record<Name, number>[]) {
    const changes = this.slots.map((slot) => this.#change(slot, evaluation, item(at, slot.index)));
    try {
      const read = async (sum: Tensor) => Number((await sum.data())[0]);
      const moved = await Promise.all(changes.map(async (change) => await read(change.moved)));
      const bent = await Promise.all(changes.map(async (change) => await read(change.bent)));
      const total = (parts: readonly number[]) => parts.reduce((sum, part) => sum + part, 0);
      return { moved: total(moved), bent: total(bent) };
    } finally {
      for (const { moved, bent } of changes) for (const sum of [moved, bent]) sum.dispose();
    }
  }

  #change(
    slot: Slot<OASISOptions, Name>,
    { gradients, before }: OASISEvaluation,
    { alpha }: Record<Name, number>,
  ) {
    const old = before ? item(before, slot.index) : stateOf(slot, "gradient");
    using scale = preconditionerOf(stateOf(slot, "curvature"), alpha);
    using moved = sub(slot.tensor, stateOf(slot, "previous"));
    using stretched = mul(moved, scale.metric);
    using bent = sub(item(gradients, slot.index), old);
    using shrunk = mul(bent, scale.inverse);
    return { moved: vectorDot(moved, stretched), bent: vectorDot(bent, shrunk) };
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    const { stepSize, ratio } = this.#rate;
    return { stepSize: String(stepSize), ratio: String(ratio) };
  }

  protected override loadNumbers(numbers: ReadonlyMap<string, string>): void {
    const read = (key: string) => Number(numbers.get(key) ?? "none");
    this.#rate = { stepSize: read("stepSize"), ratio: read("ratio") };
  }
}
