import { scale, sin } from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import { init, Linear, Module, type ParameterOptions } from "../nn/index.js";
import { scope, type Tensor } from "../tensor/index.js";

export interface SirenOptions extends ParameterOptions {
  /** Factor of what goes into each sine, default 30. */
  readonly omega?: number | undefined;
}

/**
 * A network of sines from coordinates `[..., sizes[0]]` to values `[..., sizes.at(-1)]`; the last layer is linear.
 *
 * Sitzmann et al., Implicit neural representations with periodic activation functions, 2020: weights of the first layer
 * uniform within `1 / in`, of the others within `sqrt(6 / in) / omega`.
 */
export class Siren extends Module {
  readonly layers: readonly Linear[];
  readonly omega: number;

  constructor(sizes: readonly number[], options: SirenOptions = {}) {
    super();
    if (sizes.length < 2)
      throw new ArgumentError(expected("siren", "two or more sizes", "sizes", sizes));
    const { omega = 30 } = options;
    if (!(omega > 0))
      throw new ArgumentError(expected("siren", "a number above 0", "omega", omega));
    this.omega = omega;
    this.layers = sizes.slice(1).map((out, i) => {
      const inputs = sizes[i] ?? 0;
      const bound = i === 0 ? 1 / inputs : Math.sqrt(6 / inputs) / omega;
      return new Linear(inputs, out, { ...options, init: init.uniform(bound) });
    });
  }

  forward(x: Tensor): Tensor {
    return scope(() =>
      this.layers.reduce((y, layer, i) => {
        const z = layer.forward(y);
        return i < this.layers.length - 1 ? sin(scale(z, this.omega)) : z;
      }, x),
    );
  }
}

/** @example siren([2, 256, 256, 3]) */
export function siren(sizes: readonly number[], options: SirenOptions = {}): Siren {
  return new Siren(sizes, options);
}
