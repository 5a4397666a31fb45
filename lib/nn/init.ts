import type { Device } from "../binding/index.js";
import { randomNormal, randomUniform } from "../ops/random.js";
import type { RealDType } from "../ops/broadcast.js";
import { checkInteger } from "../ops/check.js";
import { elementsOf } from "../ops/packed.js";
import { newArray, Tensor } from "../tensor/index.js";

/** Numbers for parameters: each draw takes the next stream of one seed, so the order of creation decides. */
export class InitialValues {
  #stream = 0;

  constructor(readonly seed: number) {
    checkInteger("InitialValues", "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  }

  /** A key that was not given before. */
  next(): { readonly seed: number; readonly stream: number } {
    return { seed: this.seed, stream: this.#stream++ };
  }
}

/** Where and how parameters are made. */
export interface ParameterOptions {
  /** Default float32. */
  readonly dtype?: RealDType | undefined;
  /** Default "cpu". */
  readonly device?: Device | undefined;
  /** Give the parts of a model one of these; default: one of seed 0 that all share. */
  readonly initial?: InitialValues | undefined;
}

const shared = new InitialValues(0);

/** A function that makes the first value of a parameter. */
export type Initializer = (shape: readonly number[], options: ParameterOptions) => Tensor;

function typed(x: Tensor<"float32">, { dtype = "float32" }: ParameterOptions): Tensor {
  if (dtype === "float32") return x;
  const y = x.toDType(dtype);
  x.dispose();
  return y;
}

/** Normal numbers of mean 0. */
export function normal(std: number): Initializer {
  return (shape, options) =>
    typed(
      randomNormal(shape, { ...(options.initial ?? shared).next(), std, device: options.device }),
      options,
    );
}

/** Uniform numbers from -bound to bound. */
export function uniform(bound: number): Initializer {
  return (shape, options) => {
    const key = (options.initial ?? shared).next();
    return typed(
      randomUniform(shape, { ...key, low: -bound, high: bound, device: options.device }),
      options,
    );
  };
}

/** One number everywhere. */
export function constant(value: number): Initializer {
  return (shape, { dtype = "float32", device }) =>
    Tensor.from(newArray(dtype, elementsOf(shape)).fill(value), shape, { dtype, device });
}

export const zeros = constant(0);
export const ones = constant(1);

/** Inputs and outputs of one unit of a weight `[out, in, ...]`, with the taps of a convolution. */
function fans(shape: readonly number[]): { input: number; output: number } {
  const taps = elementsOf(shape.slice(2));
  return { input: (shape[1] ?? 1) * taps, output: (shape[0] ?? 1) * taps };
}

/** Variance `2 / (in + out)`, uniform. Glorot, Bengio, 2010. */
export const xavierUniform: Initializer = (shape, options) => {
  const { input, output } = fans(shape);
  return uniform(Math.sqrt(6 / (input + output)))(shape, options);
};

/** Variance `2 / (in + out)`, normal. Glorot, Bengio, 2010. */
export const xavierNormal: Initializer = (shape, options) => {
  const { input, output } = fans(shape);
  return normal(Math.sqrt(2 / (input + output)))(shape, options);
};

/** Variance `2 / in`, normal, for relu. He et al., 2015. */
export const kaimingNormal: Initializer = (shape, options) =>
  normal(Math.sqrt(2 / fans(shape).input))(shape, options);

/** Uniform within `1 / sqrt(in)`: what PyTorch gives the weights of its linear and convolution layers. */
export const fanInUniform: Initializer = (shape, options) =>
  uniform(1 / Math.sqrt(fans(shape).input))(shape, options);
