import { gelu, relu, sigmoid, silu, sin, tanh } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Linear, Module, type ParameterOptions } from "../nn/index.js";
import { scope, type Tensor } from "../tensor/index.js";

const activations = {
  relu,
  tanh,
  sigmoid,
  silu,
  sin,
  gelu: (x: Tensor) => gelu(x),
} as const;

export interface MLPOptions extends ParameterOptions {
  /** Between the layers, default "relu". */
  readonly activation?: keyof typeof activations | undefined;
  /** Default true. */
  readonly bias?: boolean | undefined;
}

/** Linear layers with an activation between: `[..., sizes[0]]` to `[..., sizes.at(-1)]`. */
export class MLP extends Module {
  readonly layers: readonly Linear[];
  readonly activation: keyof typeof activations;

  constructor(sizes: readonly number[], options: MLPOptions = {}) {
    super();
    if (sizes.length < 2)
      throw new ArgumentError(expected("mlp", "two or more sizes", "sizes", sizes));
    this.layers = sizes.slice(1).map((out, i) => new Linear(sizes[i] ?? 0, out, options));
    this.activation = options.activation ?? "relu";
  }

  forward(x: Tensor): Tensor {
    return scope(() =>
      this.layers.reduce((y, layer, i) => {
        const z = layer.forward(y);
        return i < this.layers.length - 1 ? activations[this.activation](z) : z;
      }, x),
    );
  }
}

/** @example mlp([784, 512, 10]) */
export function mlp(sizes: readonly number[], options: MLPOptions = {}): MLP {
  return new MLP(sizes, options);
}
