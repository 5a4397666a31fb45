import { mean } from "../autodiff/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { adaHessianStep } from "../ops/adahessian-step.js";
import { checkInteger } from "../ops/check.js";
import { flat, item } from "../ops/tensor-mean.js";
import { keep, type Tensor } from "../tensor/index.js";
import {
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
import { type DiagonalEvaluation, hessianDiagonal } from "./probes.js";
import { belowOne, type Scheduled } from "./schedule.js";

/** How many neighbours share one curvature, by the rank of a tensor: "none", "auto" or a divisor of the element count. */
export type BlockSize = "auto" | "none" | number;

export interface AdaHessianOptions extends OptimizerOptions {
  /** Default 0.15. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the averages of the gradient and of the squared curvature, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [Scheduled, Scheduled] | undefined;
  /** Added to the root. Default 1e-4. */
  readonly eps?: Scheduled | undefined;
  /** Decoupled. Default 0. */
  readonly weightDecay?: Scheduled | undefined;
  /** Power of the root, 0 to 1. Default 1. */
  readonly hessianPower?: Scheduled | undefined;
  /**
   * Over which elements the curvature is averaged. "auto" (default): the inputs of a matrix row, the last axis of rank 3, the
   * last two of rank 4; nothing of vectors. "none"; or runs of so many elements.
   */
  readonly blockSize?: BlockSize | undefined;
}

/** Options that hold for all parameters together. */
export interface AdaHessianProbes {
  /** Average |z o Hz| (default, as the authors' code) or z o Hz itself (as the paper's text). */
  readonly absBeforeAverage?: boolean | undefined;
  /** Products with the Hessian a step. Default 1. */
  readonly samples?: number | undefined;
  /** The curvature is estimated anew every so many steps, and kept between. Default 1. */
  readonly updateInterval?: number | undefined;
  /** Of the probes. Default 0. */
  readonly seed?: number | undefined;
}

type Name = "lr" | "beta1" | "beta2" | "eps" | "weightDecay" | "hessianPower";

const numbers: Numbers<AdaHessianOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 0.15, range: [0, Infinity] },
  beta1: { of: ({ betas }) => betas?.[0], otherwise: 0.9, range: belowOne },
  beta2: { of: ({ betas }) => betas?.[1], otherwise: 0.999, range: belowOne },
  eps: { of: ({ eps }) => eps, otherwise: 1e-4, range: [0, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
  hessianPower: { of: ({ hessianPower }) => hessianPower, otherwise: 1, range: [0, 1] },
};

/** Elements that share one curvature. */
function blockOf({ name, tensor, options }: Slot<AdaHessianOptions>): number {
  const { blockSize = "auto" } = options;
  const { shape, size, rank } = tensor;
  if (blockSize === "none") return 1;
  if (blockSize === "auto") {
    const averaged = rank === 2 || rank === 3 ? shape.slice(-1) : rank === 4 ? shape.slice(-2) : [];
    return Math.max(
      1,
      averaged.reduce((product, length) => product * length, 1),
    );
  }
  if (!Number.isInteger(blockSize) || blockSize < 1)
    throw new ArgumentError(
      expected("AdaHessian", '"auto", "none" or a whole number', "blockSize", blockSize),
    );
  if (size % blockSize !== 0)
    throw new ShapeError(
      expected(
        "AdaHessian",
        `a divisor of the ${size} elements of ${name}`,
        "blockSize",
        blockSize,
      ),
    );
  return blockSize;
}

/**
 * AdaHessian: Adam with the squared gradient replaced by the squared, spatially averaged Hutchinson estimate of the Hessian's
 * diagonal. A step costs about three gradients (one product with the Hessian) and one pass of 32 bytes an element; two
 * floats of state, three when `updateInterval` is above 1.
 *
 * Source: Yao et al., AdaHessian: an adaptive second order optimizer for machine learning, 2021, and its code.
 *
 * @example
 * const optimizer = new AdaHessian(model.parameters(), { lr: 0.15, weightDecay: 1 / 300 });
 * const { loss } = await optimizer.step(() => crossEntropy(model.forward(x), y));
 */
export class AdaHessian extends Optimizer<AdaHessianOptions, Name> {
  readonly #absolute: boolean;
  readonly #samples: number;
  readonly #interval: number;
  readonly #seed: number;
  readonly #blocks: readonly number[];

  constructor(
    params: Iterable<Parameter>,
    options: WithGroups<AdaHessianOptions> & AdaHessianProbes = {},
  ) {
    const fn = "AdaHessian";
    super(fn, params, options, numbers);
    const { absBeforeAverage = true, samples = 1, updateInterval = 1, seed = 0 } = options;
    if (typeof absBeforeAverage !== "boolean")
      throw new ArgumentError(expected(fn, "true or false", "absBeforeAverage", absBeforeAverage));
    checkInteger(fn, "samples", samples, 1, 2 ** 20);
    checkInteger(fn, "updateInterval", updateInterval, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
    this.#absolute = absBeforeAverage;
    this.#samples = samples;
    this.#interval = updateInterval;
    this.#seed = seed;
    this.#blocks = this.slots.map(blockOf);
    const keys = updateInterval > 1 ? ["m", "v", "diagonal"] : ["m", "v"];
    for (const slot of this.slots) for (const key of keys) this.addState(slot, key);
  }

  protected override evaluate(question: Question): Evaluation {
    if (this.steps % this.#interval !== 0) return super.evaluate(question);
    const { fn, microBatches } = question;
    const key = { seed: this.#seed, step: this.steps, samples: this.#samples };
    return hessianDiagonal(fn, this.tensors(), microBatches, key);
  }

  /** A row of the diagonal, averaged over the elements' blocks unless the kernel does that after taking absolute values. */
  #averaged(diagonal: Tensor, block: number): Tensor {
    if (this.#absolute || block === 1) return flat(diagonal);
    using rows = diagonal.reshape([-1, block]);
    using means = mean(rows, [1], { keepDims: true });
    using spread = means.expand(rows.shape);
    return spread.contiguous();
  }

  protected async update(evaluation: Evaluation, step: number): Promise<object> {
    const { gradients } = evaluation;
    const diagonals = (evaluation as Partial<DiagonalEvaluation>).diagonals;
    await Promise.all(
      this.slots.map(async (slot) => {
        const block = this.#blocks[slot.index] ?? 1;
        const fresh = diagonals && this.#averaged(item(diagonals, slot.index), block);
        if (fresh && slot.state.has("diagonal")) {
          stateOf(slot, "diagonal").dispose();
          slot.state.set("diagonal", keep(fresh.reshape(slot.tensor.shape)));
        }
        using theta = flat(slot.tensor);
        using grad = flat(item(gradients, slot.index));
        using diagonal = flat(fresh ?? stateOf(slot, "diagonal"));
        using m = flat(stateOf(slot, "m"));
        using v = flat(stateOf(slot, "v"));
        const { beta1, beta2, ...rest } = this.at(slot, step);
        const segments = [{ size: theta.size, block: this.#absolute ? block : 1 }];
        const options = {
          ...rest,
          betas: [beta1, beta2] as const,
          step: step + 1,
          segments,
          checkFinite: false,
        };
        fresh?.dispose();
        await adaHessianStep({ theta, grad, diagonal, m, v }, options);
      }),
    );
    return {};
  }
}
