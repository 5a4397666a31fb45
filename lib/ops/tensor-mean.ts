import type { Tensor } from "../tensor/index.js";
import { axpby } from "./vector-update.js";

/**
 * @internal All elements in one row, as the step kernels take them: a view when they lie so, else a copy. Gradients may be
 * views of anything, so nothing is ever written to one. The caller disposes it.
 */
export function flat(tensor: Tensor): Tensor {
  if (tensor.isContiguous) return tensor.reshape([tensor.size]);
  using copy = tensor.contiguous();
  return copy.reshape([copy.size]);
}

/** @internal An element that is known to be there. */
export function item<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined)
    throw new RangeError(`expected ${index + 1} items but there are ${list.length}`);
  return found;
}

/** @internal The mean of lists of tensors that come one after the other; takes them over. */
export class TensorMean {
  #tensors: Tensor[] = [];
  #count = 0;

  add(terms: readonly Tensor[]): void {
    this.#count += 1;
    if (this.#count === 1) {
      this.#tensors = [...terms];
      return;
    }
    // The first ones may be views of anything: they are copied before something is added to them.
    if (this.#count === 2) this.#tensors = this.#tensors.map(copied);
    this.#tensors.forEach((tensor, i) => {
      using sum = flat(tensor);
      using term = flat(item(terms, i));
      axpby(1, term, 1, sum);
      terms[i]?.dispose();
    });
  }

  /** Hands the tensors over. */
  mean(): Tensor[] {
    const tensors = this.#tensors;
    this.#tensors = [];
    if (this.#count > 1) {
      for (const tensor of tensors) {
        using row = flat(tensor);
        axpby(0, undefined, 1 / this.#count, row);
      }
    }
    return tensors;
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
    this.#tensors = [];
  }
}

function copied(tensor: Tensor): Tensor {
  const copy = tensor.contiguous();
  tensor.dispose();
  return copy;
}
