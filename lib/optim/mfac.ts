import { FisherWindow, fisherWindow } from "../curvature/index.js";
import { FormatError, ShapeError, expected } from "../errors.js";
import type { NamedTensors } from "../formats/index.js";
import { checkSameDevice } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { flat, item } from "../ops/tensor-mean.js";
import { axpby } from "../ops/vector-update.js";
import { sameShape, Tensor } from "../tensor/index.js";
import {
  Optimizer,
  stateOf,
  type Evaluation,
  type Numbers,
  type OptimizerOptions,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { belowOne, type Scheduled } from "./schedule.js";

export interface MFACOptions extends OptimizerOptions {
  /** Default 1e-3. */
  readonly lr?: Scheduled | undefined;
  /** Decay of the average of the directions, in [0, 1). Default 0. */
  readonly momentum?: Scheduled | undefined;
  /** Default 0; added to the gradient (L2) before it enters the window, not decoupled. */
  readonly weightDecay?: Scheduled | undefined;
}

/** Options that hold for all parameters together. */
export interface MFACWindow {
  /** Gradients in the window, m. Default 1024. */
  readonly gradients?: number | undefined;
  /** Added to the diagonal of the Fisher matrix. Default 1e-5. */
  readonly damp?: number | undefined;
}

const numbers: Numbers<MFACOptions, "lr" | "momentum" | "weightDecay"> = {
  lr: { of: ({ lr }) => lr, otherwise: 1e-3, range: [0, Infinity] },
  momentum: { of: ({ momentum }) => momentum, otherwise: 0, range: belowOne },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
};

/**
 * M-FAC: the gradient times the inverse of the empirical Fisher matrix of the last m gradients, all parameters together.
 * `u = (damp I + 1/m sum g g^T)^-1 g`, `v = momentum v + (1 - momentum) u`, `theta -= lr v`.
 *
 * The mean is over m from the start, while the window is still filling: early steps are larger by up to m / |g|^2, so warm up.
 * State: `4 m d` bytes for d weights and `8 m^2`; a step takes three passes over the window and `2 m^3 / 3` flops.
 *
 * Source: Frantar, Kurtic, Alistarh, "M-FAC", 2021, and its code. Inner products and what is solved with them are float64.
 *
 * @example
 * const lr = { schedule: "constant", from: 1e-3, warmup: 256 };
 * const optimizer = new MFAC(model.parameters(), { lr, gradients: 256 });
 */
export class MFAC extends Optimizer<MFACOptions, keyof typeof numbers> {
  readonly #window: FisherWindow;
  /** Where each parameter begins in the window's rows. */
  readonly #starts: readonly number[];

  constructor(params: Iterable<Parameter>, options: WithGroups<MFACOptions> & MFACWindow = {}) {
    super("MFAC", params, options, numbers);
    checkSameDevice(
      "MFAC",
      Object.fromEntries(this.slots.map(({ name, tensor }) => [name, tensor])),
    );
    let size = 0;
    this.#starts = this.slots.map(({ tensor }) => (size += tensor.size) - tensor.size);
    const { gradients, damp } = options;
    this.#window = fisherWindow(size, {
      gradients,
      damp,
      device: item(this.slots, 0).tensor.device,
    });
    for (const slot of this.slots) this.addState(slot, "momentum");
  }

  override get stateBytes(): number {
    const { rows, products } = this.#window.state;
    return super.stateBytes + rows.byteLength + products.byteLength;
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<object> {
    using gradient = Tensor.empty([this.#window.size], { device: this.#window.device });
    for (const slot of this.slots) {
      using place = this.#part(gradient, slot.index, 0);
      using theta = flat(slot.tensor);
      using own = flat(item(gradients, slot.index));
      copyInto("MFAC.step", own, place);
      axpby(this.at(slot, step).weightDecay, theta, 1, place);
    }
    this.#window.insertChecked(gradient);
    using direction = await this.#window.product(gradient);
    for (const slot of this.slots) {
      const { lr, momentum } = this.at(slot, step);
      using u = this.#part(direction, slot.index, 0);
      using theta = flat(slot.tensor);
      using average = flat(stateOf(slot, "momentum"));
      axpby(1 - momentum, u, momentum, average);
      axpby(-lr, average, 1, theta);
    }
    return {};
  }

  /** A parameter's part of the weights, which are an axis of x. */
  #part(x: Tensor, index: number, axis: number): Tensor {
    const start = item(this.#starts, index);
    return x.slice(axis, start, start + item(this.slots, index).tensor.size);
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    return { next: String(this.#window.state.next) };
  }

  /** As of every optimizer; with the window, `PARAMETER.window` `[m, size]`, and its inner products under the first parameter. */
  override stateDict(): NamedTensors {
    const { tensors, metadata } = super.stateDict();
    const { rows, products } = this.#window.state;
    const all = new Map(tensors);
    for (const { name, index } of this.slots) {
      using part = this.#part(rows, index, 1);
      all.set(`${name}.window`, part.contiguous());
    }
    all.set(this.#productsName, products.contiguous());
    return { tensors: all, metadata };
  }

  override loadStateDict(state: NamedTensors): void {
    const fn = "MFAC.loadStateDict";
    const { rows, products } = this.#window.state;
    const rest = new Map(state.tensors);
    const take = (name: string, shape: readonly number[], dtype: string): Tensor => {
      const found = rest.get(name);
      if (found?.dtype !== dtype)
        throw new FormatError(`${fn}: the state does not fit: ${name} is not there as ${dtype}`);
      if (!sameShape(found.shape, shape))
        throw new ShapeError(expected(fn, `shape [${shape.join(", ")}]`, name, found.shape));
      rest.delete(name);
      return found;
    };
    const m = this.#window.gradients;
    const next = Number(state.metadata.get("next") ?? "none");
    if (!(Number.isInteger(next) && next >= 0 && next < m))
      throw new FormatError(`${fn}: the state does not fit: its next is not from 0 to ${m - 1}`);
    const windows = this.slots.map(({ name, tensor }) =>
      take(`${name}.window`, [m, tensor.size], rows.dtype),
    );
    const inner = take(this.#productsName, products.shape, products.dtype);
    super.loadStateDict({ tensors: rest, metadata: state.metadata });
    using joined = Tensor.empty(rows.shape, { device: rows.device });
    windows.forEach((window, index) => {
      using place = this.#part(joined, index, 1);
      using moved = window.to(rows.device);
      copyInto(fn, moved, place);
    });
    using moved = inner.to(rows.device);
    this.#window.restore({ rows: joined, products: moved, next });
  }

  get #productsName(): string {
    return `${item(this.slots, 0).name}.products`;
  }

  override dispose(): void {
    super.dispose();
    this.#window.dispose();
  }
}
