import { conv2d, type ConvOptions } from "../autodiff/index.js";
import { checkInteger } from "../ops/check.js";
import { pairOf, type Pair } from "../ops/conv2d.js";
import type { Tensor } from "../tensor/index.js";
import { fanInUniform, uniform, type Initializer, type ParameterOptions } from "./init.js";
import { Layer } from "./layer.js";

export interface Conv2dOptions extends ConvOptions, ParameterOptions {
  /** Default true. */
  readonly bias?: boolean | undefined;
  /** Of the weight; default `fanInUniform`, and the bias alike. */
  readonly init?: Initializer | undefined;
}

/** A convolution of images `[batch, channels, height, width]` to `[batch, outputs, ...]`; see `conv2d`. */
export class Conv2d extends Layer {
  /** `[outputs, channels / groups, kernel height, kernel width]` */
  readonly weight: Tensor;
  /** `[outputs]` */
  readonly bias: Tensor | undefined;
  readonly geometry: ConvOptions;

  constructor(channels: number, outputs: number, kernel: Pair, options: Conv2dOptions = {}) {
    super();
    const fn = "Conv2d";
    const { stride, padding, dilation, groups = 1 } = options;
    checkInteger(fn, "channels", channels, 1, 2 ** 31 - 1);
    checkInteger(fn, "outputs", outputs, 1, 2 ** 31 - 1);
    checkInteger(fn, "groups", groups, 1, channels);
    this.geometry = { stride, padding, dilation, groups };
    const [height, width] = pairOf(fn, "kernel", kernel, 1);
    const shape = [outputs, channels / groups, height, width];
    this.weight = (options.init ?? fanInUniform)(shape, options);
    const bound = 1 / Math.sqrt((channels / groups) * height * width);
    this.bias = options.bias === false ? undefined : uniform(bound)([outputs], options);
  }

  forward(x: Tensor): Tensor {
    return this.hooked(x, conv2d(x, this.weight, this.bias, this.geometry));
  }
}
