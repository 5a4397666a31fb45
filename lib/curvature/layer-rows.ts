import { concat, conv2d, reshape } from "../autodiff/index.js";
import { Conv2d, Embedding, Linear, type Layer, type Module } from "../nn/index.js";
import { newArray, Tensor } from "../tensor/index.js";

/** A layer whose weight multiplies its input. */
export type MatrixLayer = Linear | Conv2d | Embedding;

/** A layer with its path in the model. */
export interface NamedLayer<L extends Layer = MatrixLayer> {
  readonly name: string;
  readonly layer: L;
}

/** @internal Every Linear, Conv2d and Embedding of a model, each once, in order. */
export function matrixLayers(model: Module): NamedLayer[] {
  const found = new Map<Module, NamedLayer>();
  for (const { name, module } of model.modules())
    if (isMatrixLayer(module) && !found.has(module)) found.set(module, { name, layer: module });
  return [...found.values()];
}

function isMatrixLayer(module: Module): module is MatrixLayer {
  return module instanceof Linear || module instanceof Conv2d || module instanceof Embedding;
}

/** @internal The bias of a layer, if it has one. */
export function biasOf(layer: MatrixLayer): Tensor | undefined {
  return layer instanceof Embedding ? undefined : layer.bias;
}

/** @internal Convolution groups: so many factors lie one after the other. */
export function groupsOf(layer: MatrixLayer): number {
  return layer instanceof Conv2d ? (layer.geometry.groups ?? 1) : 1;
}

/** Examples first, features last, everything between as one dimension of places. */
function byPlace(x: Tensor): Tensor {
  const [batch = 1, features = 1] = x.rank < 2 ? [1, x.shape[0]] : [x.shape[0], x.shape.at(-1)];
  const places = x.shape.slice(1, -1).reduce((product, length) => product * length, 1);
  return reshape(x, [1, batch, places, features]);
}

/** `[batch, channels, height, width]` to `[groups, batch, height width, channels / groups]`. */
function byGroup(x: Tensor, groups: number): Tensor {
  const [batch = 0, channels = 0, height = 0, width = 0] = x.shape;
  const parts = reshape(x, [batch, groups, channels / groups, height * width]);
  return parts.permute([1, 0, 3, 2]);
}

/**
 * @internal What the weight multiplies: `[groups, batch, places, inputs]`, with a last column of ones where the layer has a
 * bias. Of a convolution its patches, in the order of the weight.
 */
export function inputRows(layer: Linear | Conv2d, input: Tensor): Tensor {
  const rows =
    layer instanceof Linear ? byPlace(input) : byGroup(patches(layer, input), groupsOf(layer));
  if (layer.bias === undefined) return rows;
  using one = Tensor.from([1], [1, 1, 1, 1], {
    dtype: rows.dtype as "float32",
    device: rows.device,
  });
  return concat([rows, one.expand([...rows.shape.slice(0, -1), 1])], -1);
}

/** @internal The derivative by the layer's output, `[groups, batch, places, outputs]`. */
export function outputRows(layer: MatrixLayer, cotangent: Tensor): Tensor {
  return layer instanceof Conv2d ? byGroup(cotangent, groupsOf(layer)) : byPlace(cotangent);
}

/** `[batch, channels kh kw, height, width]`: a convolution of each channel with every unit kernel. */
function patches({ weight, geometry }: Conv2d, input: Tensor): Tensor {
  const [height = 1, width = 1] = weight.shape.slice(2);
  const channels = input.shape[1] ?? 0;
  const taps = height * width;
  const units = newArray(input.dtype as "float64", channels * taps * taps);
  for (let k = 0; k < channels * taps; ++k) units[k * taps + (k % taps)] = 1;
  using kernel = Tensor.from(units, [channels * taps, 1, height, width], {
    dtype: input.dtype as "float64",
    device: input.device,
  });
  return conv2d(input, kernel, undefined, { ...geometry, groups: channels });
}
