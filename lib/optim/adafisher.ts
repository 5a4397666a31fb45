import { valueAndGrad } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { LayerMoments, momentLayers, type MomentLayer } from "../curvature/layer-moments.js";
import { Module } from "../nn/index.js";
import { adaFisherStep } from "../ops/adafisher-step.js";
import { checkInteger } from "../ops/check.js";
import { flat, item } from "../ops/tensor-mean.js";
import { keep, Tensor } from "../tensor/index.js";
import { nextDiagonal } from "./adafisher-diagonal.js";
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
import { belowOne, type Scheduled } from "./schedule.js";

export interface AdaFisherOptions extends OptimizerOptions {
  /** Default 1e-3. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the average of the gradient, in [0, 1). Default 0.9. */
  readonly beta?: Scheduled | undefined;
  /** Added to the Fisher diagonal, > 0. Default 1e-3. */
  readonly damping?: Scheduled | undefined;
  /** Default 0; added to the gradient (L2), in AdaFisherW decoupled. */
  readonly weightDecay?: Scheduled | undefined;
}

/** Options that hold for all parameters together. */
export interface AdaFisherFactors {
  /** The factors are computed anew at step 0 and then every so many steps. Default 100. */
  readonly interval?: number | undefined;
  /** A diagonal becomes `old * diagonal + new * fresh`. Default [0.08, 0.008], the authors' for gamma 0.8. */
  readonly averaging?: readonly [old: number, fresh: number] | undefined;
}

type Name = "lr" | "beta" | "damping" | "weightDecay";

const numbers: Numbers<AdaFisherOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 1e-3, range: [0, Infinity] },
  beta: { of: ({ beta }) => beta, otherwise: 0.9, range: belowOne },
  damping: { of: ({ damping }) => damping, otherwise: 1e-3, range: [Number.MIN_VALUE, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
};

/** A layer with the slots of its parameters; the weight's slot holds the diagonals. */
interface Factored {
  readonly layer: MomentLayer;
  readonly weight: Slot<AdaFisherOptions, Name>;
  readonly bias: Slot<AdaFisherOptions, Name> | undefined;
}

/** Both variants: they differ in where the weight decay goes. */
abstract class DiagonalFisher extends Optimizer<AdaFisherOptions, Name> {
  readonly #interval: number;
  readonly #averaging: readonly [old: number, fresh: number];
  readonly #layers: readonly Factored[];
  readonly #factoredBy = new Map<string, { by: Factored; bias: boolean }>();
  #moments: LayerMoments | undefined;

  /** @param l2 whether weight decay is added to the gradient. */
  protected constructor(
    fn: string,
    model: Module,
    options: WithGroups<AdaFisherOptions> & AdaFisherFactors,
    private readonly l2: boolean,
  ) {
    if (!(model instanceof Module))
      throw new ArgumentError(expected(fn, "a Module", "model", model));
    super(fn, model.parameters(), options, numbers);
    const { interval = 100, averaging = [0.08, 0.008] } = options;
    checkInteger(fn, "interval", interval, 1, Number.MAX_SAFE_INTEGER);
    const shares: readonly unknown[] = averaging;
    if (shares.length !== 2 || !averaging.every((share) => share >= 0 && share <= 1))
      throw new ArgumentError(expected(fn, "two numbers from 0 to 1", "averaging", averaging));
    this.#interval = interval;
    this.#averaging = averaging;
    const byTensor = new Map(this.slots.map((slot) => [slot.tensor, slot]));
    this.#layers = momentLayers(model).flatMap((layer) => {
      const { weight, bias } = layer.module;
      const found = byTensor.get(weight);
      // A weight that two layers share has the diagonals of the first.
      if (found === undefined || this.#factoredBy.has(found.name)) return [];
      const by = { layer, weight: found, bias: bias && byTensor.get(bias) };
      this.#factoredBy.set(found.name, { by, bias: false });
      if (by.bias) this.#factoredBy.set(by.bias.name, { by, bias: true });
      return [by];
    });
    for (const slot of this.slots) this.addState(slot, "m");
    for (const { weight, bias } of this.#layers) {
      const [outputs = 1, ...rest] = weight.tensor.shape;
      const inputs = rest.reduce((product, length) => product * length, 1);
      this.#setDiagonal(weight, "outputs", new Float64Array(outputs).fill(1));
      this.#setDiagonal(weight, "inputs", new Float64Array(inputs + (bias ? 1 : 0)).fill(1));
    }
  }

  /** Whether the next step computes the factors anew. */
  get factorsDue(): boolean {
    return this.steps % this.#interval === 0;
  }

  #setDiagonal(slot: Factored["weight"], key: string, values: Float64Array): void {
    slot.state.get(key)?.dispose();
    const { device } = slot.tensor;
    slot.state.set(key, keep(Tensor.from(Float32Array.from(values), undefined, { device })));
  }

  protected override evaluate(question: Question): Evaluation {
    this.#moments?.dispose();
    this.#moments = undefined;
    if (!this.factorsDue) return super.evaluate(question);
    const { fn, microBatches } = question;
    const moments = new LayerMoments(this.#layers.map(({ layer }) => layer));
    try {
      const evaluation = meanOver(microBatches, (k) =>
        moments.during(() => valueAndGrad(() => fn(k), this.tensors())),
      );
      this.#moments = moments;
      return evaluation;
    } catch (error) {
      moments.dispose();
      throw error;
    }
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    if (this.#moments) await this.#refresh(this.#moments);
    await Promise.all(
      this.slots.map(async (slot) => {
        using theta = flat(slot.tensor);
        using grad = flat(item(gradients, slot.index));
        using m = flat(stateOf(slot, "m"));
        const found = this.#factorsOf(slot);
        try {
          await adaFisherStep(
            { theta, grad, m, factors: found },
            {
              ...this.at(slot, step),
              l2: this.l2,
              step: step + 1,
              checkFinite: false,
            },
          );
        } finally {
          found?.columns.dispose();
        }
      }),
    );
    return {};
  }

  /** The diagonals of a parameter as a matrix; `columns` is a view of its own. */
  #factorsOf(slot: Slot<AdaFisherOptions, Name>): { rows: Tensor; columns: Tensor } | undefined {
    const found = this.#factoredBy.get(slot.name);
    if (found === undefined) return undefined;
    const { weight, bias } = found.by;
    const inputs = stateOf(weight, "inputs");
    const own = inputs.size - (bias ? 1 : 0);
    const columns = found.bias ? inputs.slice(0, own, own + 1) : inputs.slice(0, 0, own);
    return { rows: stateOf(weight, "outputs"), columns };
  }

  override dispose(): void {
    super.dispose();
    this.#moments?.dispose();
    this.#moments = undefined;
  }

  async #refresh(moments: LayerMoments): Promise<void> {
    this.#moments = undefined;
    const all = await moments.read().finally(() => {
      moments.dispose();
    });
    await Promise.all(
      this.#layers.map(async ({ weight, bias }, i) => {
        const fresh = all[i];
        if (fresh === undefined) return; // not used in this loss: its diagonals stay
        const constant = bias ? [1] : [];
        const parts = {
          outputs: fresh.outputs,
          inputs: Float64Array.of(...fresh.inputs, ...constant),
        };
        for (const [key, values] of Object.entries(parts)) {
          const old = await stateOf(weight, key).data();
          this.#setDiagonal(
            weight,
            key,
            nextDiagonal(old as Float32Array, values, this.#averaging),
          );
        }
      }),
    );
  }
}

/**
 * AdaFisher: the average of the gradient divided by a Fisher diagonal that is the outer product of two vectors a layer, the
 * min-max normalized mean squares of its inputs and of the gradients of its outputs. A step is a gradient and one pass of 20
 * bytes an element; every `interval` steps one more pass over the layers' inputs and outputs. One float of state an element.
 *
 * The vectors are for linear layers and ungrouped convolutions; other parameters (norms, embeddings) are divided by 1. With
 * the default averaging the divisors are about 0.008 for the first `interval` steps and then fall to within 8 % of the
 * damping, so that a step is nearly lr / damping times the average gradient: lr plays the whole part. The division does not
 * undo a scaling of the loss.
 *
 * Source: Martins Gomes et al., AdaFisher: adaptive second order optimization via Fisher information, ICLR 2025, and its code.
 * Ours: parameters are matched with layers by name, every parameter is updated, and norm layers have no vectors.
 *
 * @example
 * const optimizer = new AdaFisher(model, { lr: 1e-3 });
 * const { loss } = await optimizer.step(() => crossEntropy(model.forward(x), y));
 */
export class AdaFisher extends DiagonalFisher {
  /** @param model whose parameters are trained and whose layers are looked at. */
  constructor(model: Module, options: WithGroups<AdaFisherOptions> & AdaFisherFactors = {}) {
    super("AdaFisher", model, options, true);
  }
}

/** AdaFisher with decoupled weight decay: `theta -= lr (mhat / F + weightDecay theta)`. */
export class AdaFisherW extends DiagonalFisher {
  constructor(model: Module, options: WithGroups<AdaFisherOptions> & AdaFisherFactors = {}) {
    super("AdaFisherW", model, options, false);
  }
}
