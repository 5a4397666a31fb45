import { keep, type Tensor, type TensorScope } from "../tensor/index.js";
import { holding, withContexts, type Context, type Maybe } from "./context.js";
import { add } from "./ops/arithmetic.js";
import { alias } from "./ops/views.js";

/**
 * Tangents or cotangents by the tensor they belong to. It owns them, outside of every scope; where an outer context holds
 * everything (`held`), it owns nothing and leaves tensors in the scope they were made in.
 */
export class Derivatives {
  readonly held: boolean;
  readonly #values = new Map<Tensor, Tensor>();

  /** @param outer the contexts that see the sums and views made here. */
  constructor(readonly outer: readonly Context[]) {
    this.held = holding(outer);
  }

  get(tensor: Tensor): Maybe {
    return this.#values.get(tensor);
  }

  /**
   * Sets the derivative of a tensor, or adds to it.
   *
   * @param scope where `value` may have been made: then it is taken over, otherwise a view of it is.
   */
  add(tensor: Tensor, value: Tensor, scope: TensorScope | undefined): void {
    const before = this.#values.get(tensor);
    let sum = value;
    if (before !== undefined) sum = withContexts(this.outer, () => add(before, value));
    else if (!this.held && scope?.tensors.has(value) !== true)
      sum = withContexts(this.outer, () => alias(value));
    if (!this.held) {
      keep(sum);
      before?.dispose();
    }
    this.#values.set(tensor, sum);
  }

  drop(tensor: Tensor): void {
    const value = this.#values.get(tensor);
    if (value === undefined) return;
    this.#values.delete(tensor);
    if (!this.held) value.dispose();
  }

  /** Hands over what there is for some tensors: the caller owns it now. */
  take(tensors: readonly Tensor[]): Map<Tensor, Tensor> {
    const taken = new Map<Tensor, Tensor>();
    for (const tensor of tensors) {
      const value = this.#values.get(tensor);
      if (value !== undefined) taken.set(tensor, value);
      this.#values.delete(tensor);
    }
    return taken;
  }

  dropAll(): void {
    for (const tensor of [...this.#values.keys()]) this.drop(tensor);
  }
}
