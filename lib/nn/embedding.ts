import { embedding } from "../autodiff/index.js";
import { checkInteger } from "../ops/check.js";
import type { Tensor } from "../tensor/index.js";
import { normal, type Initializer, type ParameterOptions } from "./init.js";
import { Layer } from "./layer.js";

export interface EmbeddingOptions extends ParameterOptions {
  /** Default `normal(1)`. */
  readonly init?: Initializer | undefined;
}

/** A vector for each of `count` numbers: int32 `[...]` to `[..., width]`. */
export class Embedding extends Layer {
  /** `[count, width]` */
  readonly weight: Tensor;

  constructor(count: number, width: number, options: EmbeddingOptions = {}) {
    super();
    checkInteger("Embedding", "count", count, 1, 2 ** 31 - 1);
    checkInteger("Embedding", "width", width, 1, 2 ** 31 - 1);
    this.weight = (options.init ?? normal(1))([count, width], options);
  }

  forward(indices: Tensor): Tensor {
    return this.hooked(indices, embedding(this.weight, indices));
  }
}
