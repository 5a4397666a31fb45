import { enqueue } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkLike, checkReal } from "./broadcast.js";
import { checkInteger } from "./check.js";
import { withPacked } from "./packed.js";

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

export interface ConvGeometry {
  readonly groups: number;
  readonly stride: readonly [number, number];
  /** Zeros above and left of the image; those below and right follow from the size of the result. */
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
}

/** A pair of integers of at least `least`. */
export function pairOf(
  fn: string,
  name: string,
  value: Pair,
  least: number,
): readonly [number, number] {
  const pair: readonly unknown[] = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(pair) || pair.length !== 2)
    throw new ArgumentError(expected(fn, "a number or two of them", name, value));
  const [a, b] = pair as [number, number];
  checkInteger(fn, name, a, least, 2 ** 31 - 1);
  checkInteger(fn, name, b, least, 2 ** 31 - 1);
  return [a, b];
}

/** How many windows of `kernel` fit, with zeros on both sides. */
export function windows(
  length: number,
  kernel: number,
  stride: number,
  padding: number,
  dilation: number,
): number {
  return Math.floor((length + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
}

/** The shape of the result of a convolution, after a check that x and w fit. */
export function convShape(
  fn: string,
  x: Tensor,
  w: Tensor,
  { groups, stride, padding, dilation }: ConvGeometry,
): [number, number, number, number] {
  checkReal(fn, "x", x);
  checkReal(fn, "weight", w);
  checkLike(fn, x, "weight", w);
  if (x.rank !== 4)
    throw new ShapeError(expected(fn, "shape [batch, channels, height, width]", "x", x.shape));
  const [batch = 0, channels = 0, height = 0, width = 0] = x.shape;
  const [outputs = 0, , kernelH = 0, kernelW = 0] = w.shape;
  if (
    w.rank !== 4 ||
    w.shape[1] !== channels / groups ||
    outputs % groups !== 0 ||
    kernelH * kernelW === 0
  )
    throw new ShapeError(
      `${fn}: expected a weight [outputs, ${channels / groups}, height, width] with outputs a multiple of ${groups} ` +
        `for x [${x.shape.join(", ")}] in ${groups} groups but received [${w.shape.join(", ")}]`,
    );
  const outH = windows(height, kernelH, stride[0], padding[0], dilation[0]);
  const outW = windows(width, kernelW, stride[1], padding[1], dilation[1]);
  if (outH < 1 || outW < 1)
    throw new ShapeError(
      `${fn}: expected x at least as large as the kernel but received [${x.shape.join(", ")}] and [${w.shape.join(", ")}]`,
    );
  return [batch, outputs, outH, outW];
}

function options({ groups, stride, padding, dilation }: ConvGeometry) {
  return {
    groups,
    strideH: stride[0],
    strideW: stride[1],
    padTop: padding[0],
    padLeft: padding[1],
    dilationH: dilation[0],
    dilationW: dilation[1],
  };
}

function run(
  fn: string,
  kernel: string,
  inputs: Readonly<Record<string, Tensor>>,
  output: string,
  shape: readonly number[],
  geometry: ConvGeometry,
): Tensor {
  const [a, b] = Object.keys(inputs) as [string, string];
  const [x, y] = Object.values(inputs) as [Tensor, Tensor];
  const result = Tensor.empty(shape, { dtype: x.dtype, device: x.device });
  withPacked(fn, [x, y], (left, right) => {
    enqueue(fn, kernel, x.device, {
      [a]: left.native(fn),
      [b]: right.native(fn),
      [output]: result.native(fn),
      ...options(geometry),
    });
  });
  return result;
}

/** The convolution of x `[batch, channels, height, width]` with w, in the shape of `convShape`. Queued. */
export function conv2d(
  fn: string,
  x: Tensor,
  w: Tensor,
  shape: readonly number[],
  geometry: ConvGeometry,
): Tensor {
  return run(fn, "conv2d", { x, w }, "y", shape, geometry);
}

/** Its transpose by x, at g, in the shape of x. Queued. */
export function conv2dInput(
  fn: string,
  g: Tensor,
  w: Tensor,
  shape: readonly number[],
  geometry: ConvGeometry,
): Tensor {
  return run(fn, "conv2d_input", { g, w }, "dx", shape, geometry);
}

/** Its transpose by w, at g, in the shape of w. Queued. */
export function conv2dWeight(
  fn: string,
  x: Tensor,
  g: Tensor,
  shape: readonly number[],
  geometry: ConvGeometry,
): Tensor {
  return run(fn, "conv2d_weight", { x, g }, "dw", shape, geometry);
}
