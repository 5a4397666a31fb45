import { ArgumentError, describe, expected } from "../errors.js";
import { binary } from "../ops/binary.js";
import { checkSameDevice, checkTensor } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { item } from "../ops/tensor-mean.js";
import { keep, sameShape, type Tensor } from "../tensor/index.js";

/** What masks are held for: a parameter and what an optimizer remembers of it. */
export interface Masked {
  readonly name: string;
  readonly tensor: Tensor;
  readonly state: ReadonlyMap<string, Tensor>;
}

/** `x = x factor` in place. */
function multiplyBy(fn: string, x: Tensor, factor: Tensor): void {
  using product = binary(fn, "multiply", x, factor);
  copyInto(fn, product, x);
}

/** Masks of an optimizer's parameters, which keep pruned weights at zero. */
export class HeldMasks {
  /** By the place of the parameter; float32 of zeros and ones. */
  readonly #factors = new Map<number, Tensor>();

  /** Takes the place of all before. Everything is checked before the first change. */
  set(fn: string, slots: readonly Masked[], masks: ReadonlyMap<string, Tensor>): void {
    const names = slots.map(({ name }) => name);
    for (const [name, mask] of masks) {
      const slot = slots.find((one) => one.name === name);
      if (slot === undefined)
        throw new ArgumentError(expected(fn, `one of ${describe(names)}`, "a mask's name", name));
      checkTensor(fn, `the mask of ${name}`, mask, ["bool"], slot.tensor.shape);
      checkSameDevice(fn, { [name]: slot.tensor, mask });
    }
    this.dispose();
    slots.forEach(({ name, tensor, state }, index) => {
      const mask = masks.get(name);
      if (mask === undefined) return;
      const factor = keep(mask.toDType("float32"));
      this.#factors.set(index, factor);
      for (const one of [tensor, ...state.values()])
        if (sameShape(one.shape, mask.shape)) multiplyBy(fn, one, factor);
    });
  }

  /** The gradients with zeros where a mask has them: new tensors there, which `made` lists. */
  apply(fn: string, gradients: readonly Tensor[]): { gradients: Tensor[]; made: Tensor[] } {
    const made: Tensor[] = [];
    const masked = gradients.map((gradient, index) => {
      const factor = this.#factors.get(index);
      if (factor === undefined) return gradient;
      const product = binary(fn, "multiply", gradient, factor);
      made.push(product);
      return product;
    });
    return { gradients: masked, made };
  }

  /** Zeros again, whatever an update made of them. */
  hold(fn: string, slots: readonly Masked[]): void {
    for (const [index, factor] of this.#factors) multiplyBy(fn, item(slots, index).tensor, factor);
  }

  dispose(): void {
    for (const factor of this.#factors.values()) factor.dispose();
    this.#factors.clear();
  }
}
