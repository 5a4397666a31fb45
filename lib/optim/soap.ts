import { ArgumentError, expected } from "../errors.js";
import { eigh } from "../linalg/index.js";
import { binary } from "../ops/binary.js";
import { compare } from "../ops/compare.js";
import { checkInteger } from "../ops/check.js";
import { gather } from "../ops/gather.js";
import { matmul } from "../ops/matmul.js";
import { orthonormalRows } from "../ops/orthonormal-rows.js";
import { reduce } from "../ops/reduce.js";
import { select } from "../ops/select.js";
import { flat, item } from "../ops/tensor-mean.js";
import { unary } from "../ops/unary.js";
import { vectorNorm } from "../ops/vector-reduce.js";
import { axpby } from "../ops/vector-update.js";
import { scope, Tensor } from "../tensor/index.js";
import { mergeDimensions, modeProduct, updateFactor } from "./modes.js";
import {
  Optimizer,
  replaceState,
  stateOf,
  type Evaluation,
  type Numbers,
  type OptimizerOptions,
  type Slot,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { belowOne, type Scheduled } from "./schedule.js";

export interface SOAPOptions extends OptimizerOptions {
  /** Default 3e-3. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the averages of the gradient and of its square in the eigenbasis, in [0, 1). Default [0.95, 0.95]. */
  readonly betas?: readonly [Scheduled, Scheduled] | undefined;
  /** Decay of the statistics whose eigenvectors are the basis. Default: the second of `betas`. */
  readonly shampooBeta?: Scheduled | undefined;
  /** Added to the root, above 0. Default 1e-8. */
  readonly eps?: Scheduled | undefined;
  /** Decoupled, after the update: `W (1 - lr weightDecay)`. Default 0.01. */
  readonly weightDecay?: Scheduled | undefined;
  /** The basis follows its statistic every so many steps. Default 10. */
  readonly preconditionInterval?: number | undefined;
  /** A longer axis keeps the basis it has. Default 10000. */
  readonly maxDimension?: number | undefined;
  /** Join neighbouring axes while their product is within `maxDimension`. Default false. */
  readonly mergeDimensions?: boolean | undefined;
  /** A basis for vectors too, which are Adam's otherwise. Default false. */
  readonly precondition1d?: boolean | undefined;
  /**
   * No update where the root of the average square is below 1e-6 of the largest of the tensor: in directions that no gradient
   * had, rounding is all there is, and Adam makes steps of it. Default false.
   */
  readonly guard?: boolean | undefined;
  /** Scale the update to a root mean square of 1: for a large `preconditionInterval`. Default false. */
  readonly normalizeUpdate?: boolean | undefined;
}

type Name = "lr" | "beta1" | "beta2" | "shampooBeta" | "eps" | "weightDecay";

const numbers: Numbers<SOAPOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 3e-3, range: [0, Infinity] },
  beta1: { of: ({ betas }) => betas?.[0], otherwise: 0.95, range: belowOne },
  beta2: { of: ({ betas }) => betas?.[1], otherwise: 0.95, range: belowOne },
  shampooBeta: {
    of: ({ shampooBeta, betas }) => shampooBeta ?? betas?.[1],
    otherwise: 0.95,
    range: belowOne,
  },
  eps: { of: ({ eps }) => eps, otherwise: 1e-8, range: [1e-30, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0.01, range: [0, Infinity] },
};

/** How a parameter is seen: its dimensions, and the axes that have a basis of their own. */
interface View {
  readonly dims: readonly number[];
  readonly axes: readonly number[];
  readonly interval: number;
}

function viewOf({ name, tensor, options }: Slot<SOAPOptions, Name>): View {
  const { maxDimension = 10000, preconditionInterval = 10, precondition1d = false } = options;
  checkInteger("SOAP", `maxDimension of ${name}`, maxDimension, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(
    "SOAP",
    `preconditionInterval of ${name}`,
    preconditionInterval,
    1,
    Number.MAX_SAFE_INTEGER,
  );
  for (const key of ["mergeDimensions", "precondition1d", "guard", "normalizeUpdate"] as const) {
    const value = options[key];
    if (value !== undefined && typeof value !== "boolean")
      throw new ArgumentError(expected("SOAP", "true or false", `${key} of ${name}`, value));
  }
  const dims =
    options.mergeDimensions === true ? mergeDimensions(tensor.shape, maxDimension) : tensor.shape;
  const wanted = tensor.size > 0 && (dims.length > 1 || (dims.length === 1 && precondition1d));
  const axes = dims.map((_, axis) => axis);
  return {
    dims,
    axes: wanted ? axes.filter((axis) => item(dims, axis) <= maxDimension) : [],
    interval: preconditionInterval,
  };
}

/** The state of an axis: its statistic, and the basis with one vector a row. */
const statistic = (axis: number) => `factor${axis}`;
const basis = (axis: number) => `basis${axis}`;

/** x with the places of an axis in another order. */
function permuted(x: Tensor, axis: number, order: readonly number[]): Tensor {
  using index = Tensor.from(Int32Array.from(order), [order.length], { device: x.device });
  const count = (part: readonly number[]) => part.reduce((product, d) => product * d, 1);
  const n = item(x.shape, axis);
  const [outer, inner] = [count(x.shape.slice(0, axis)), count(x.shape.slice(axis + 1))];
  return gather("SOAP", x, index, { outer, n, inner, m: n, shared: true }, x.shape);
}

/** x, but zero where v is below 1e-12 of the largest of v. */
function without(x: Tensor, v: Tensor): Tensor {
  const least = unary("SOAP", "affine", reduce("SOAP", "max", v, [0]), { alpha: 1e-12 });
  const zero = Tensor.zeros([1], { device: x.device });
  return select("SOAP", compare("SOAP", "less", v, least), zero, x);
}

async function rootMeanSquare(x: Tensor): Promise<number> {
  using norm = vectorNorm(x);
  return 1e-30 + Number((await norm.data())[0]) / Math.sqrt(Math.max(1, x.size));
}

/**
 * SOAP: Adam in the slowly turning eigenbasis of Shampoo's statistics. The first step gathers the statistics and changes no
 * parameter. State of an [o, i] matrix: 2 o i + 2 (o^2 + i^2) floats. A step costs 8 o i (o + i) flops, and 5 d^3 an axis when its
 * basis is brought up to date.
 *
 * Source: Vyas et al., SOAP: improving and stabilizing Shampoo using Adam, 2024, and its code.
 */
export class SOAP extends Optimizer<SOAPOptions, Name> {
  readonly #views: readonly View[];

  constructor(params: Iterable<Parameter>, options: WithGroups<SOAPOptions> = {}) {
    super("SOAP", params, options, numbers);
    this.#views = this.slots.map(viewOf);
    for (const slot of this.slots) {
      for (const key of ["m", "v"]) this.addState(slot, key);
      const { dims, axes } = item(this.#views, slot.index);
      for (const axis of axes) {
        const d = item(dims, axis);
        for (const key of [statistic(axis), basis(axis)]) this.addState(slot, key, [d, d]);
      }
    }
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    await Promise.all(
      this.slots.map(async (slot) => {
        const view = item(this.#views, slot.index);
        using row = flat(item(gradients, slot.index));
        using grad = row.reshape([1, ...view.dims]);
        if (step === 0) await this.#begin(slot, view, grad);
        else await this.#advance(slot, view, grad, step);
      }),
    );
    return {};
  }

  #gather(slot: Slot<SOAPOptions, Name>, { axes }: View, grad: Tensor, beta: number): void {
    scope(() => {
      for (const axis of axes) {
        const factor = stateOf(slot, statistic(axis));
        const [d = 0] = factor.shape;
        updateFactor(factor.reshape([1, d, d]), grad, axis, { beta, weight: 1 - beta });
      }
    });
  }

  /** The first step: statistics and their eigenvectors, so that no gradient meets a basis made from itself. */
  async #begin(slot: Slot<SOAPOptions, Name>, view: View, grad: Tensor): Promise<void> {
    this.#gather(slot, view, grad, this.at(slot, 0).shampooBeta);
    for (const axis of view.axes) {
      const { values, vectors } = await eigh(stateOf(slot, statistic(axis)));
      values.dispose();
      using columns = vectors;
      using rows = columns.transpose();
      const d = item(rows.shape, 0);
      const descending = Array.from({ length: d }, (_, i) => d - 1 - i);
      replaceState(slot, basis(axis), permuted(rows, 0, descending));
    }
  }

  async #advance(
    slot: Slot<SOAPOptions, Name>,
    view: View,
    grad: Tensor,
    step: number,
  ): Promise<void> {
    const { lr, beta1, beta2, shampooBeta, eps, weightDecay } = this.at(slot, step);
    const { guard = false } = slot.options;
    const update = scope(() => {
      const turned = this.#rotated(slot, view, grad, false);
      const m = flat(stateOf(slot, "m"));
      const v = flat(stateOf(slot, "v"));
      axpby(1 - beta1, flat(grad), beta1, m);
      axpby(1 - beta2, flat(unary("SOAP", "square", turned)), beta2, v);
      const mean = this.#rotated(slot, view, m.reshape(grad.shape), false);
      const root = unary("SOAP", "affine", unary("SOAP", "sqrt", v), { alpha: 1, beta: eps });
      const whole = binary("SOAP", "divide", flat(mean), root);
      const ratio = guard ? without(whole, v) : whole;
      return flat(this.#rotated(slot, view, ratio.reshape(grad.shape), true));
    });
    try {
      const rms = slot.options.normalizeUpdate === true ? await rootMeanSquare(update) : 1;
      const bias = Math.sqrt(1 - beta2 ** step) / (1 - beta1 ** step);
      const decay = 1 - lr * weightDecay;
      using theta = flat(slot.tensor);
      axpby((-lr * bias * decay) / rms, update, decay, theta);
    } finally {
      update.dispose();
    }
    this.#gather(slot, view, grad, shampooBeta);
    if (step % view.interval === 0)
      for (const axis of view.axes) await this.#refresh(slot, view, axis);
  }

  /** x in the eigenbases, or from them `back`. */
  #rotated(slot: Slot<SOAPOptions, Name>, { axes }: View, x: Tensor, back: boolean): Tensor {
    return axes.reduce((turned, axis) => {
      const rows = stateOf(slot, basis(axis));
      const [d = 0] = rows.shape;
      const matrix = rows.reshape([1, d, d]);
      return modeProduct(turned, back ? matrix.transpose() : matrix, axis);
    }, x);
  }

  /** One step of orthogonal iteration, with the vectors and the squares in the order of the eigenvalues. */
  async #refresh(slot: Slot<SOAPOptions, Name>, { dims }: View, axis: number): Promise<void> {
    const rows = stateOf(slot, basis(axis));
    using moved = matmul(rows, stateOf(slot, statistic(axis)));
    using products = binary("SOAP", "multiply", moved, rows);
    using quotients = reduce("SOAP", "sum", products, [1]);
    const values = Array.from((await quotients.data()) as Float32Array);
    const order = [...values.keys()].sort((a, b) => item(values, b) - item(values, a));
    using sorted = permuted(moved, 0, order);
    replaceState(slot, basis(axis), orthonormalRows(sorted));
    using squares = stateOf(slot, "v").reshape(dims);
    using inOrder = permuted(squares, axis, order);
    replaceState(slot, "v", inOrder.reshape(slot.tensor.shape));
  }
}
