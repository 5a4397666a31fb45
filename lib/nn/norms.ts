import { add, batchNorm, batchNormWith, layerNorm, rmsNorm, scale } from "../autodiff/index.js";
import { copyInto } from "../ops/copy.js";
import { scope, type Tensor } from "../tensor/index.js";
import { ones, zeros, type ParameterOptions } from "./init.js";
import { Module } from "./module.js";

export interface NormModuleOptions extends ParameterOptions {
  readonly eps?: number | undefined;
  /** Whether there is a weight (and a bias); default true. */
  readonly affine?: boolean | undefined;
}

/** The last dimension brought to mean 0 and variance 1, then `weight x + bias`; see `layerNorm`. */
export class LayerNorm extends Module {
  readonly weight: Tensor | undefined;
  readonly bias: Tensor | undefined;
  readonly eps: number;

  constructor(
    width: number,
    options: NormModuleOptions & { readonly bias?: boolean | undefined } = {},
  ) {
    super();
    const affine = options.affine !== false;
    this.weight = affine ? ones([width], options) : undefined;
    this.bias = affine && options.bias !== false ? zeros([width], options) : undefined;
    this.eps = options.eps ?? 1e-5;
  }

  forward(x: Tensor): Tensor {
    return scope(() => layerNorm(x, { weight: this.weight, bias: this.bias, eps: this.eps }));
  }
}

/** The last dimension brought to mean square 1, then `weight x`; see `rmsNorm`. */
export class RMSNorm extends Module {
  readonly weight: Tensor | undefined;
  readonly eps: number;

  constructor(width: number, options: NormModuleOptions = {}) {
    super();
    this.weight = options.affine === false ? undefined : ones([width], options);
    this.eps = options.eps ?? 1e-6;
  }

  forward(x: Tensor): Tensor {
    return scope(() => rmsNorm(x, { weight: this.weight, eps: this.eps }));
  }
}

export interface BatchNormOptions extends NormModuleOptions {
  /** Share of the new statistics in the running ones, default 0.1. */
  readonly momentum?: number | undefined;
}

/**
 * Channels of `[batch, channels, ...]` normalized: in training by the batch, in use by running averages of its mean and
 * (uncorrected) variance. Each forward pass in training moves the averages, so a step that computes its loss several times
 * counts the batch as often; `track = false` stops that.
 */
export class BatchNorm extends Module {
  readonly weight: Tensor | undefined;
  readonly bias: Tensor | undefined;
  readonly eps: number;
  readonly momentum: number;
  track = true;
  readonly #mean: Tensor;
  readonly #variance: Tensor;

  constructor(channels: number, options: BatchNormOptions = {}) {
    super();
    const affine = options.affine !== false;
    this.weight = affine ? ones([channels], options) : undefined;
    this.bias = affine ? zeros([channels], options) : undefined;
    this.#mean = this.buffers["running_mean"] = zeros([channels], options);
    this.#variance = this.buffers["running_var"] = ones([channels], options);
    this.eps = options.eps ?? 1e-5;
    this.momentum = options.momentum ?? 0.1;
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const { weight, bias, eps } = this;
      if (!this.training)
        return batchNormWith(
          x,
          { mean: this.#mean, variance: this.#variance },
          { weight, bias, eps },
        );
      const { y, statistics } = batchNorm(x, { weight, bias, eps });
      if (this.track) {
        this.#move(this.#mean, statistics.mean);
        this.#move(this.#variance, statistics.variance);
      }
      return y;
    });
  }

  #move(average: Tensor, value: Tensor): void {
    const moved = add(scale(average, 1 - this.momentum), scale(value, this.momentum));
    copyInto("BatchNorm", moved, average);
  }
}
