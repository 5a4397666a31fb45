import { ArgumentError, expected } from "../errors.js";
import { orthogonalize } from "../linalg/index.js";
import { adamwStep } from "../ops/adamw-step.js";
import { checkInteger } from "../ops/check.js";
import { flat, item } from "../ops/tensor-mean.js";
import { axpby } from "../ops/vector-update.js";
import type { Tensor } from "../tensor/index.js";
import type { AdamWOptions } from "./adamw.js";
import {
  Optimizer,
  stateOf,
  type Evaluation,
  type NumericOption,
  type OptimizerOptions,
  type Slot,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { belowOne, type Scheduled } from "./schedule.js";

export type MuonScale = "width" | "rms" | "kernel" | "none";

export interface MuonOptions extends OptimizerOptions {
  /** Of the orthogonalized parameters. Default 0.02. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the average of the gradient, in [0, 1). Default 0.95. */
  readonly momentum?: Scheduled | undefined;
  /** Default true. */
  readonly nesterov?: boolean | undefined;
  /** Decoupled: `W (1 - lr weightDecay)`. Default 0. */
  readonly weightDecay?: Scheduled | undefined;
  /** Newton-Schulz steps, default 5. */
  readonly steps?: number | undefined;
  /** Of a Newton-Schulz step. Default 3.4445, -4.775, 2.0315. */
  readonly coefficients?: readonly [number, number, number] | undefined;
  /** Added to the norm that the average is divided by. Default 1e-7. */
  readonly eps?: Scheduled | undefined;
  /**
   * Factor of the orthogonalized matrix [o, i]. "width" (default): `sqrt(max(1, o / i))`. "rms": `0.2 sqrt(max(o, i))`, after
   * which the learning rate and the decay of AdamW can be used. "kernel": as "width", of the last two axes of a parameter
   * of rank 4, as the first published code has it. "none": 1.
   */
  readonly scale?: MuonScale | undefined;
  /** Orthogonalize so many equal parts along the first axis apart: 3 for a fused q, k, v. Default 1. */
  readonly parts?: number | undefined;
  /**
   * "muon": parameters of rank 2 and more, seen as `[o, the rest]`. "adamw": the others, and what a group says: embeddings and
   * the output head should be there. Default: by rank.
   */
  readonly method?: "muon" | "adamw" | undefined;
  /** Of the parameters under "adamw". Defaults: lr 3e-4, betas [0.9, 0.95], eps 1e-10, weightDecay 0. */
  readonly adamw?: AdamWOptions | undefined;
}

const numbers = {
  lr: { of: ({ lr }) => lr, otherwise: 0.02, range: [0, Infinity] },
  momentum: { of: ({ momentum }) => momentum, otherwise: 0.95, range: belowOne },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
  eps: { of: ({ eps }) => eps, otherwise: 1e-7, range: [0, Infinity] },
  "adamw.lr": { of: ({ adamw }) => adamw?.lr, otherwise: 3e-4, range: [0, Infinity] },
  "adamw.beta1": { of: ({ adamw }) => adamw?.betas?.[0], otherwise: 0.9, range: belowOne },
  "adamw.beta2": { of: ({ adamw }) => adamw?.betas?.[1], otherwise: 0.95, range: belowOne },
  "adamw.eps": { of: ({ adamw }) => adamw?.eps, otherwise: 1e-10, range: [0, Infinity] },
  "adamw.weightDecay": {
    of: ({ adamw }) => adamw?.weightDecay,
    otherwise: 0,
    range: [0, Infinity],
  },
} as const satisfies Record<string, NumericOption<MuonOptions>>;

type Name = keyof typeof numbers;

/** The shape [parts, o, i] that a parameter is orthogonalized in, or undefined when it is AdamW's. */
function matricesOf(slot: Slot<MuonOptions, Name>): readonly [number, number, number] | undefined {
  const fn = "Muon";
  const { shape, rank, size } = slot.tensor;
  const { method = rank >= 2 ? "muon" : "adamw", parts = 1, scale = "width" } = slot.options;
  if (!["muon", "adamw"].includes(method))
    throw new ArgumentError(expected(fn, '"muon" or "adamw"', `method of ${slot.name}`, method));
  if (!["width", "rms", "kernel", "none"].includes(scale))
    throw new ArgumentError(expected(fn, "width, rms, kernel or none", "scale", scale));
  const { steps = 5, coefficients = [] } = slot.options;
  checkInteger(fn, `steps of ${slot.name}`, steps, 1, 1000);
  if (coefficients.length % 3 !== 0 || !coefficients.every(Number.isFinite))
    throw new ArgumentError(expected(fn, "three numbers", "coefficients", coefficients));
  if (method === "adamw") return undefined;
  if (rank < 2)
    throw new ArgumentError(expected(fn, "two or more axes for muon", slot.name, shape));
  const outputs = item(shape, 0);
  checkInteger(fn, `parts of ${slot.name}`, parts, 1, Math.max(1, outputs));
  if (outputs % parts !== 0)
    throw new ArgumentError(
      expected(fn, `a divisor of ${outputs}`, `parts of ${slot.name}`, parts),
    );
  return [parts, outputs / parts, outputs === 0 ? 0 : size / outputs];
}

function scaleOf({ options, tensor }: Slot<MuonOptions>, rows: number, columns: number): number {
  const { scale = "width" } = options;
  const wide = (o: number, i: number) => Math.sqrt(Math.max(1, o / i));
  switch (scale) {
    case "width":
      return wide(rows, columns);
    case "rms":
      return 0.2 * Math.sqrt(Math.max(rows, columns));
    case "kernel":
      return tensor.rank === 4
        ? wide(item(tensor.shape, 2), item(tensor.shape, 3))
        : wide(rows, columns);
    case "none":
      return 1;
  }
}

/**
 * Muon: momentum whose update is replaced by a matrix with all singular values near 1: `M = momentum M + (1 - momentum) g`,
 * `u = (1 - momentum) g + momentum M` (Nesterov), `W = (1 - lr weightDecay) W - lr scale orthogonalize(u)`. Vectors and what is
 * named go by AdamW. One float of state an element (two under AdamW); 5 (3 d^2 e + d^3) flops a matrix and step, d <= e its
 * sides. The update does not shrink with the gradient: lr must fall for the loss to converge.
 *
 * Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
 *
 * @example
 * const optimizer = new Muon(model.parameters(), {
 *   lr: { schedule: "linear", from: 0.02, steps: 1000 },
 *   groups: [{ match: /embedding|head/, method: "adamw" }],
 * });
 */
export class Muon extends Optimizer<MuonOptions, Name> {
  readonly #matrices: readonly (readonly [number, number, number] | undefined)[];

  constructor(params: Iterable<Parameter>, options: WithGroups<MuonOptions> = {}) {
    super("Muon", params, options, numbers);
    this.#matrices = this.slots.map(matricesOf);
    for (const slot of this.slots)
      for (const key of this.#matrices[slot.index] ? ["m"] : ["m", "v"]) this.addState(slot, key);
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    await Promise.all(
      this.slots.map(async (slot) => {
        using grad = flat(item(gradients, slot.index));
        const shape = this.#matrices[slot.index];
        await (shape ? this.#orthogonal(slot, shape, grad, step) : this.#adamw(slot, grad, step));
      }),
    );
    return {};
  }

  async #orthogonal(
    slot: Slot<MuonOptions, Name>,
    shape: readonly [number, number, number],
    grad: Tensor,
    step: number,
  ): Promise<void> {
    if (grad.size === 0) return;
    const { lr, momentum, weightDecay, eps } = this.at(slot, step);
    const { nesterov = true, steps, coefficients } = slot.options;
    using m = flat(stateOf(slot, "m"));
    axpby(1 - momentum, grad, momentum, m);
    using u = m.contiguous();
    if (nesterov) axpby(1 - momentum, grad, momentum, u);
    using matrices = u.reshape(shape);
    const { factor } = await orthogonalize(matrices, { steps, coefficients, eps });
    using theta = flat(slot.tensor);
    using row = flat(factor);
    factor.dispose();
    axpby(-lr * scaleOf(slot, shape[1], shape[2]), row, 1 - lr * weightDecay, theta);
  }

  async #adamw(slot: Slot<MuonOptions, Name>, grad: Tensor, step: number): Promise<void> {
    const values = this.at(slot, step);
    using theta = flat(slot.tensor);
    using m = flat(stateOf(slot, "m"));
    using v = flat(stateOf(slot, "v"));
    await adamwStep(
      { theta, grad, m, v },
      {
        lr: values["adamw.lr"],
        betas: [values["adamw.beta1"], values["adamw.beta2"]],
        eps: values["adamw.eps"],
        weightDecay: values["adamw.weightDecay"],
        step: step + 1,
        checkFinite: false,
      },
    );
  }
}
