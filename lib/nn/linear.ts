import { linear } from "../autodiff/index.js";
import { checkInteger } from "../ops/check.js";
import type { Tensor } from "../tensor/index.js";
import { fanInUniform, uniform, type Initializer, type ParameterOptions } from "./init.js";
import { Layer } from "./layer.js";

export interface LinearOptions extends ParameterOptions {
  /** Default true. */
  readonly bias?: boolean | undefined;
  /** Of the weight; default `fanInUniform`, and the bias alike. */
  readonly init?: Initializer | undefined;
}

/** `y = x W^T + b` over the last dimension: `[..., inputs]` to `[..., outputs]`. */
export class Linear extends Layer {
  /** `[outputs, inputs]` */
  readonly weight: Tensor;
  /** `[outputs]` */
  readonly bias: Tensor | undefined;

  constructor(inputs: number, outputs: number, options: LinearOptions = {}) {
    super();
    checkInteger("Linear", "inputs", inputs, 1, 2 ** 31 - 1);
    checkInteger("Linear", "outputs", outputs, 1, 2 ** 31 - 1);
    this.weight = (options.init ?? fanInUniform)([outputs, inputs], options);
    this.bias =
      options.bias === false ? undefined : uniform(1 / Math.sqrt(inputs))([outputs], options);
  }

  forward(x: Tensor): Tensor {
    return this.hooked(x, linear(x, this.weight, this.bias));
  }
}
