import type { Tensor } from "../tensor/index.js";

/** A tensor that is trained, by its path in the model: what `model.parameters()` yields. */
export interface Parameter {
  readonly name: string;
  readonly tensor: Tensor;
}
