import { Conv2d, Linear, type Module } from "../nn/index.js";
import { conv2dWeight, pairOf } from "../ops/conv2d.js";
import { reduce } from "../ops/reduce.js";
import { unary } from "../ops/unary.js";
import { axpby } from "../ops/vector-update.js";
import { keep, Tensor } from "../tensor/index.js";
import { observeLayers } from "./observe.js";

/** A layer whose moments can be taken, with its path in the model. */
export interface MomentLayer {
  readonly name: string;
  readonly module: Linear | Conv2d;
}

/** Means of the squares (order 2), or of the numbers themselves (order 1), at one layer. */
export interface Moments {
  /** Of each input, for a convolution of each element of a patch: `[inputs]`. Without the constant 1 of the bias. */
  readonly inputs: Float64Array;
  /** Of the gradient of the loss by each output: `[outputs]`. */
  readonly outputs: Float64Array;
  /** How many rows there were; of a convolution images, not positions. */
  readonly examples: number;
}

/** The linear layers and ungrouped convolutions of a model: those with one factor for the inputs of all outputs. */
export function momentLayers(model: Module): MomentLayer[] {
  return [...model.modules()].flatMap(({ name, module }) =>
    module instanceof Linear || (module instanceof Conv2d && (module.geometry.groups ?? 1) === 1)
      ? [{ name, module }]
      : [],
  );
}

/** Sums, and of how many rows. */
class Sum {
  #total: Tensor<"float32"> | undefined;
  #rows = 0;
  examples = 0;

  /** Takes over `[size]`. */
  add(squares: Tensor, rows: number, examples = rows): void {
    this.#rows += rows;
    this.examples += examples;
    if (this.#total === undefined) {
      this.#total = keep(squares) as Tensor<"float32">;
      return;
    }
    axpby(1, squares, 1, this.#total);
    squares.dispose();
  }

  async mean(): Promise<Float64Array | undefined> {
    if (this.#total === undefined) return undefined;
    return Float64Array.from(await this.#total.data(), (total) => total / this.#rows);
  }

  dispose(): void {
    this.#total?.dispose();
  }
}

/**
 * Means, or mean squares, of the inputs and the output gradients of layers, taken while a gradient is computed: what rank-one
 * Kronecker factors, or the diagonals of full ones, are made of. Sequences and positions are rows; a layer that is used several times has the rows of all
 * uses. Costs one pass over inputs and outputs; a convolution's inputs cost one more of its weight's gradient for one output.
 */
export class LayerMoments {
  readonly #sums: readonly { readonly inputs: Sum; readonly outputs: Sum }[];

  /** @param order 2: squares; 1: the numbers themselves. */
  constructor(
    private readonly layers: readonly MomentLayer[],
    private readonly order: 1 | 2 = 2,
  ) {
    this.#sums = layers.map(() => ({ inputs: new Sum(), outputs: new Sum() }));
  }

  /** Runs a function that computes a gradient by the layers' parameters; hooks that the layers have stay in force. */
  during<T>(body: () => T): T {
    const layers = this.layers.map(({ name, module }) => ({ name, layer: module }));
    const see = (index: number, input: Tensor, cotangent: Tensor) => {
      const [sums, layer] = [this.#sums[index], layers[index]?.layer];
      if (sums === undefined || layer === undefined) return;
      addInputs(sums.inputs, layer, input, cotangent, this.order);
      addOutputs(sums.outputs, cotangent, this.order);
    };
    return observeLayers(layers, see, body);
  }

  /** One for each layer; undefined for one that was not used, or whose output the loss does not depend on. */
  async read(): Promise<readonly (Moments | undefined)[]> {
    return await Promise.all(
      this.#sums.map(async (sums) => {
        const [inputs, outputs] = await Promise.all([sums.inputs.mean(), sums.outputs.mean()]);
        const { examples } = sums.outputs;
        return inputs && outputs && { inputs, outputs, examples };
      }),
    );
  }

  dispose(): void {
    for (const { inputs, outputs } of this.#sums)
      for (const sum of [inputs, outputs]) sum.dispose();
  }
}

/** x or its square, new. */
const power = (x: Tensor, order: 1 | 2): Tensor =>
  order === 2 ? unary("LayerMoments", "square", x) : x.contiguous();

function addInputs(
  sum: Sum,
  module: Linear | Conv2d,
  input: Tensor,
  output: Tensor,
  order: 1 | 2,
): void {
  const fn = "LayerMoments";
  using terms = power(input, order);
  if (module instanceof Linear) {
    addColumns(sum, terms, terms.shape.at(-1) ?? 1);
    return;
  }
  // The sum over positions of the elements of a patch is the gradient of a filter whose output has gradient 1 everywhere.
  const [batch = 0, , height = 0, width = 0] = output.shape;
  const { stride = 1, padding = 0, dilation = 1 } = module.geometry;
  const geometry = {
    groups: 1,
    stride: pairOf(fn, "stride", stride, 1),
    padding: pairOf(fn, "padding", padding, 0),
    dilation: pairOf(fn, "dilation", dilation, 1),
  };
  using one = Tensor.from(Float32Array.of(1), [1, 1, 1, 1], { device: input.device });
  using ones = one.expand([batch, 1, height, width]);
  using flat = ones.contiguous();
  using sums = conv2dWeight(fn, terms, flat, [1, ...module.weight.shape.slice(1)], geometry);
  sum.add(sums.reshape([sums.size]), batch * height * width, batch);
}

/** Rows of `width` numbers, to be summed. */
function addColumns(sum: Sum, terms: Tensor, width: number): void {
  using rows = terms.reshape([-1, width]);
  using total = reduce("LayerMoments", "sum", rows, [0]);
  sum.add(total.reshape([width]), terms.size / Math.max(1, width));
}

/** Channels are last, or second of four axes. */
function addOutputs(sum: Sum, g: Tensor, order: 1 | 2): void {
  using terms = power(g, order);
  if (g.rank !== 4) {
    addColumns(sum, terms, g.shape.at(-1) ?? 1);
    return;
  }
  const [batch = 0, channels = 0, height = 0, width = 0] = g.shape;
  using total = reduce("LayerMoments", "sum", terms, [0, 2, 3]);
  sum.add(total.reshape([channels]), batch * height * width, batch);
}
