import { ShapeError, expected } from "../../errors.js";
import { checkLike, checkReal } from "../../ops/broadcast.js";
import { checkInteger } from "../../ops/check.js";
import {
  conv2d as conv2dValues,
  conv2dInput,
  conv2dWeight,
  convShape,
  pairOf,
  type ConvGeometry,
  type Pair,
} from "../../ops/conv2d.js";
import type { Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { add, plus } from "./arithmetic.js";
import { reshape } from "./views.js";

/** The shapes of the three tensors of a convolution, beside its geometry. */
interface Shapes extends ConvGeometry {
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly y: readonly number[];
}

// One trilinear form of x, w and a cotangent g of y: each of the three operations is its derivative by one of them, and each
// is bilinear in the other two.
const forward = differentiable<[Tensor, Tensor], Shapes>("conv2d", {
  vjp: ({ inputs: [x, w], attributes }, g, [needX, needW]) => [
    needX ? byX(g, w, attributes) : undefined,
    needW ? byW(x, g, attributes) : undefined,
  ],
  jvp: ({ inputs: [x, w], attributes }, [tx, tw]) =>
    plus(tx && byG(tx, w, attributes), tw && byG(x, tw, attributes)),
});

const input = differentiable<[Tensor, Tensor], Shapes>("conv2d by its input", {
  vjp: ({ inputs: [g, w], attributes }, u, [needG, needW]) => [
    needG ? byG(u, w, attributes) : undefined,
    needW ? byW(u, g, attributes) : undefined,
  ],
  jvp: ({ inputs: [g, w], attributes }, [tg, tw]) =>
    plus(tg && byX(tg, w, attributes), tw && byX(g, tw, attributes)),
});

const weight = differentiable<[Tensor, Tensor], Shapes>("conv2d by its weight", {
  vjp: ({ inputs: [x, g], attributes }, u, [needX, needG]) => [
    needX ? byX(g, u, attributes) : undefined,
    needG ? byG(x, u, attributes) : undefined,
  ],
  jvp: ({ inputs: [x, g], attributes }, [tx, tg]) =>
    plus(tx && byW(tx, g, attributes), tg && byW(x, tg, attributes)),
});

function byG(x: Tensor, w: Tensor, shapes: Shapes): Tensor {
  return forward([x, w], conv2dValues("conv2d", x, w, shapes.y, shapes), shapes);
}

function byX(g: Tensor, w: Tensor, shapes: Shapes): Tensor {
  return input([g, w], conv2dInput("conv2d", g, w, shapes.x, shapes), shapes);
}

function byW(x: Tensor, g: Tensor, shapes: Shapes): Tensor {
  return weight([x, g], conv2dWeight("conv2d", x, g, shapes.w, shapes), shapes);
}

export interface ConvOptions {
  /** Default 1. */
  readonly stride?: Pair | undefined;
  /** Zeros on each side of the image, default 0. */
  readonly padding?: Pair | undefined;
  /** Distance of neighbouring taps, default 1. */
  readonly dilation?: Pair | undefined;
  /** Channels and outputs are cut into so many parts that see nothing of each other; default 1. */
  readonly groups?: number | undefined;
}

function geometryOf(fn: string, channels: number, options: ConvOptions): ConvGeometry {
  const { groups = 1 } = options;
  checkInteger(fn, "groups", groups, 1, Math.max(1, channels));
  if (channels % groups !== 0)
    throw new ShapeError(expected(fn, `a divisor of the ${channels} channels`, "groups", groups));
  return {
    groups,
    stride: pairOf(fn, "stride", options.stride ?? 1, 1),
    padding: pairOf(fn, "padding", options.padding ?? 0, 0),
    dilation: pairOf(fn, "dilation", options.dilation ?? 1, 1),
  };
}

function shifted(fn: string, y: Tensor, bias: Tensor | undefined): Tensor {
  if (bias === undefined) return y;
  checkReal(fn, "bias", bias);
  checkLike(fn, y, "bias", bias);
  const outputs = y.shape[1] ?? 0;
  if (bias.rank !== 1 || bias.shape[0] !== outputs)
    throw new ShapeError(expected(fn, `shape [${outputs}]`, "bias", bias.shape));
  return add(y, reshape(bias, [outputs, 1, 1]));
}

/**
 * The convolution (cross-correlation) of images with a bank of filters.
 *
 * @param x `[batch, channels, height, width]`.
 * @param weight `[outputs, channels / groups, kernel height, kernel width]`. @param bias `[outputs]`, optional.
 * @returns `[batch, outputs, out height, out width]`, `out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`.
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: ConvOptions = {},
): Tensor {
  const fn = "conv2d";
  checkReal(fn, "x", x);
  const geometry = geometryOf(fn, x.shape[1] ?? 0, options);
  const y = convShape(fn, x, weight, geometry);
  return shifted(fn, byG(x, weight, { ...geometry, x: x.shape, w: weight.shape, y }), bias);
}

export interface ConvTransposeOptions extends ConvOptions {
  /** Rows and columns more at the end, of those sizes that `conv2d` brings to the size of x; default 0. */
  readonly outputPadding?: Pair | undefined;
}

/**
 * The transpose of `conv2d`: from its results to images.
 *
 * @param x `[batch, outputs, height, width]`: what `conv2d` with the same weight and options returns.
 * @param weight `[outputs, channels / groups, kernel height, kernel width]`. @param bias `[channels]`, optional.
 * @returns `[batch, channels, ...]`, `(in - 1) stride - 2 padding + dilation (kernel - 1) + outputPadding + 1` high and wide.
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  const fn = "convTranspose2d";
  checkReal(fn, "x", x);
  checkReal(fn, "weight", weight);
  checkLike(fn, x, "weight", weight);
  const [batch = 0, outputs = 0, height = 0, width = 0] = x.shape;
  const [filters, channels = 0, kernelH = 0, kernelW = 0] = weight.shape;
  if (x.rank !== 4 || weight.rank !== 4 || filters !== outputs)
    throw new ShapeError(
      `${fn}: expected x [batch, outputs, height, width] and a weight [outputs, channels, height, width] ` +
        `but received [${x.shape.join(", ")}] and [${weight.shape.join(", ")}]`,
    );
  const geometry = geometryOf(fn, outputs, options);
  const extra = pairOf(fn, "outputPadding", options.outputPadding ?? 0, 0);
  const size = (d: 0 | 1, length: number, kernel: number) =>
    (length - 1) * geometry.stride[d] -
    2 * geometry.padding[d] +
    geometry.dilation[d] * (kernel - 1) +
    extra[d] +
    1;
  const shape = [
    batch,
    channels * geometry.groups,
    size(0, height, kernelH),
    size(1, width, kernelW),
  ];
  if (extra[0] >= geometry.stride[0] || extra[1] >= geometry.stride[1] || shape.some((n) => n < 0))
    throw new ShapeError(
      `${fn}: expected an outputPadding below the stride and a result of at least one element but received ` +
        `outputPadding [${extra.join(", ")}] and a result [${shape.join(", ")}]`,
    );
  return shifted(fn, byX(x, weight, { ...geometry, x: shape, w: weight.shape, y: x.shape }), bias);
}
