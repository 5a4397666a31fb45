import { concat, gather } from "../../autodiff/index.js";
import { ArgumentError, ShapeError, expected } from "../../errors.js";
import { BatchNorm, Conv2d, init, InitialValues, Linear, Module } from "../../nn/index.js";
import { copyInto } from "../../ops/copy.js";
import { scope, Tensor } from "../../tensor/index.js";
import type { NamedMasks } from "../gradual.js";
import { shareOf, type UnitFate, type UnitLayer, type UnitPart } from "./hap.js";

/**
 * Removes units in place: their weights, and what follows them, become zero and have a 0 in the masks. An implant has zeros too, but
 * the mask leaves the centre of its kernel free: a 1 x 1 convolution on the same input that training starts from nothing.
 *
 * The network computes what a smaller one would; `keepUnits` and `ImplantConv2d` make that.
 *
 * @param fates of `hapFates`, by layer. An implant needs a convolution's weight `[out, in, kh, kw]`, kh and kw odd.
 * @returns masks of all parameters of the layers, for `optimizer.setMasks`; the caller disposes them.
 * @throws ArgumentError, ShapeError; then nothing was changed.
 */
export async function hapPrune(
  layers: readonly UnitLayer[],
  fates: ReadonlyMap<string, readonly UnitFate[]>,
): Promise<NamedMasks> {
  const fn = "hapPrune";
  const plans = layers.flatMap((layer) => {
    const own = fates.get(layer.name);
    if (own?.length !== layer.units)
      throw new ArgumentError(expected(fn, `${layer.units} fates`, layer.name, own));
    const plan = (part: UnitPart, implants: boolean) => {
      const { axis, share } = shareOf(fn, layer.units, part);
      if (implants && own.includes("implant")) checkKernel(fn, part, share);
      return { part, axis, share, fates: own, implants };
    };
    return [
      ...layer.weights.map((part) => plan(part, true)),
      // What follows an implant stays: its bias and its batch norm.
      ...(layer.follow ?? []).map((part) => plan(part, false)),
    ];
  });
  const masks = new Map<string, Tensor<"bool">>();
  for (const { part, axis, share, fates: own, implants } of plans) {
    const { shape, device, size } = part.tensor;
    const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const values = await part.tensor.data();
    const mask = new Uint8Array(size);
    for (let at = 0; at < size; ++at) {
      const along = Math.floor(at / inner) % (shape[axis] ?? 1);
      const fate = own[Math.floor(along / share)];
      const free = fate === "implant" && (!implants || isCentre(shape, at));
      mask[at] = Number(fate === "remain" || free);
      if (fate === "prune" || (fate === "implant" && implants)) values[at] = 0;
    }
    using changed = Tensor.from(values as Float32Array, shape, { device });
    copyInto(fn, changed, part.tensor);
    masks.set(part.name, Tensor.from(mask, shape, { dtype: "bool", device }));
  }
  return masks;
}

function checkKernel(fn: string, { name, tensor, axis = 0 }: UnitPart, share: number): void {
  const [kh = 0, kw = 0] = tensor.shape.slice(2);
  if (tensor.rank === 4 && axis === 0 && share === 1 && kh % 2 === 1 && kw % 2 === 1) return;
  const what = "a convolution's weight with an odd kernel, for an implant,";
  throw new ShapeError(expected(fn, what, name, tensor.shape));
}

/** Whether a position of `[out, in, kh, kw]` is in the centre of its kernel. */
function isCentre(shape: readonly number[], at: number): boolean {
  const [kh = 1, kw = 1] = shape.slice(2);
  return at % (kh * kw) === (kh * kw - 1) / 2;
}

/** Slices of a tensor along an axis, by number, as a new tensor. */
function picked(x: Tensor, indices: readonly number[] | undefined, axis: number): Tensor {
  if (indices === undefined) return x.contiguous();
  using index = Tensor.from(Int32Array.from(indices), [indices.length], {
    dtype: "int32",
    device: x.device,
  });
  return gather(x, index, axis);
}

function adopt(target: Tensor | undefined, source: Tensor): void {
  using held = source;
  if (target !== undefined) copyInto("keepUnits", held, target);
}

export interface KeptUnits {
  /** Output channels that stay, by number, ascending; default all. */
  readonly outputs?: readonly number[] | undefined;
  /** Input channels (of a linear layer: features) that its producers left; default all. */
  readonly inputs?: readonly number[] | undefined;
}

/**
 * A smaller copy of a layer, with some of its outputs and inputs. A convolution of several groups is not cut.
 *
 * @throws ArgumentError for numbers out of range or none, or groups.
 */
export function keepUnits<L extends Linear | Conv2d | BatchNorm>(layer: L, kept: KeptUnits): L;
export function keepUnits(
  layer: Linear | Conv2d | BatchNorm,
  { outputs, inputs }: KeptUnits,
): Module {
  const fn = "keepUnits";
  if (layer instanceof BatchNorm) {
    const { size = 0, device } = layer.buffers["running_mean"] ?? {};
    checkIndices(fn, "outputs", outputs, size);
    const { eps, momentum, weight } = layer;
    const affine = weight !== undefined;
    const small = new BatchNorm(outputs?.length ?? size, { eps, momentum, affine, device });
    const state = small.stateDict();
    for (const [name, tensor] of layer.stateDict())
      adopt(state.get(name), picked(tensor, outputs, 0));
    return small.train(layer.training);
  }
  const [out = 0, channels = 0, ...kernel] = layer.weight.shape;
  checkIndices(fn, "outputs", outputs, out);
  checkIndices(fn, "inputs", inputs, channels);
  const { device } = layer.weight;
  const sizes = [inputs?.length ?? channels, outputs?.length ?? out] as const;
  // Values of its own to begin with, so that those of other models do not change.
  const options = { bias: layer.bias !== undefined, initial: new InitialValues(0), device };
  if (layer instanceof Conv2d && (layer.geometry.groups ?? 1) !== 1)
    throw new ArgumentError(
      expected(fn, "a convolution of one group", "groups", layer.geometry.groups),
    );
  const small =
    layer instanceof Conv2d
      ? new Conv2d(...sizes, kernel as [number, number], { ...layer.geometry, ...options })
      : new Linear(...sizes, options);
  using rows = picked(layer.weight, outputs, 0);
  adopt(small.weight, picked(rows, inputs, 1));
  if (layer.bias !== undefined) adopt(small.bias, picked(layer.bias, outputs, 0));
  return small.train(layer.training);
}

function checkIndices(
  fn: string,
  name: string,
  indices: readonly number[] | undefined,
  length: number,
): void {
  if (indices === undefined) return;
  const good = indices.every(
    (index, i) => Number.isInteger(index) && index < length && index > (indices[i - 1] ?? -1),
  );
  if (indices.length === 0 || !good)
    throw new ArgumentError(expected(fn, `ascending numbers below ${length}`, name, indices));
}

/**
 * A convolution of which some output channels are made by a 1 x 1 convolution of the same input: the neural implant. It begins at
 * zero and is trained.
 */
export class ImplantConv2d extends Module {
  readonly kernel: Conv2d;
  readonly implant: Conv2d;
  readonly #order: readonly number[];

  /**
   * @param conv of one group with an odd kernel, `padding = dilation (kernel - 1) / 2`, so that both see the same places.
   * @param fates of its channels: what remains and what becomes an implant; the pruned ones are gone.
   * @param inputs channels that its producers left; default all.
   */
  constructor(conv: Conv2d, fates: readonly UnitFate[], inputs?: readonly number[]) {
    super();
    const fn = "ImplantConv2d";
    const of = (fate: UnitFate) => fates.flatMap((one, c) => (one === fate ? [c] : []));
    const [remain, implants] = [of("remain"), of("implant")];
    const [out = 0, channels = 0, ...kernel] = conv.weight.shape;
    if (fates.length !== out || remain.length === 0 || implants.length === 0) {
      const what = `the fates of ${out} channels, with one of "remain" and one of "implant",`;
      throw new ArgumentError(expected(fn, what, "fates", fates));
    }
    const { stride, padding = 0, dilation = 1 } = conv.geometry;
    const pair = (x: number | readonly [number, number]) => (typeof x === "number" ? [x, x] : x);
    const centred = kernel.every(
      (k, d) => 2 * (pair(padding)[d] ?? 0) === (pair(dilation)[d] ?? 1) * (k - 1),
    );
    if (!centred)
      throw new ArgumentError(expected(fn, "dilation (kernel - 1) / 2", "padding", padding));
    this.kernel = keepUnits(conv, { outputs: remain, inputs });
    const { device } = conv.weight;
    this.implant = new Conv2d(inputs?.length ?? channels, implants.length, 1, {
      stride,
      bias: conv.bias !== undefined,
      init: init.zeros,
      initial: new InitialValues(0),
      device,
    });
    if (conv.bias !== undefined) adopt(this.implant.bias, picked(conv.bias, implants, 0));
    const made = [...remain, ...implants];
    this.#order = [...made].sort((a, b) => a - b).map((channel) => made.indexOf(channel));
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const order = Tensor.from(Int32Array.from(this.#order), [this.#order.length], {
        dtype: "int32",
        device: x.device,
      });
      return gather(concat([this.kernel.forward(x), this.implant.forward(x)], 1), order, 1);
    });
  }
}
