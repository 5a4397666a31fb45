import { call, callSync, type CallOptions } from "../binding/index.js";
import type { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor } from "./check.js";
import type { GramBuffers } from "./input-gram.js";

/** The geometry of a 2-D convolution; a 1-D one has height 1. */
export interface UnfoldGeometry {
  /** Input channels of all groups together. */
  readonly channels: number;
  /** `[height, width]` */
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** `[top, left, bottom, right]` */
  readonly padding: readonly [number, number, number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
}

/** Output positions along one axis, 0 when the kernel does not fit. */
function positions(
  size: number,
  kernel: number,
  stride: number,
  dilation: number,
  padding: number,
): number {
  const room = size + padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : Math.floor(room / stride) + 1;
}

/** Number of im2col patches of an input `[batch, channels, height, width]`. */
export function patchCount(shape: readonly number[], g: UnfoldGeometry): number {
  const [batch = 0, , height = 0, width = 0] = shape;
  const [top, left, bottom, right] = g.padding;
  return (
    batch *
    positions(height, g.kernel[0], g.stride[0], g.dilation[0], top + bottom) *
    positions(width, g.kernel[1], g.stride[1], g.dilation[1], left + right)
  );
}

function prepare(fn: string, x: Tensor, buffers: GramBuffers, g: UnfoldGeometry) {
  checkTensor(fn, "X", x, ["float32"], ["batch", g.channels, "height", "width"]);
  checkSameDevice(fn, { X: x, gram: buffers.accumulator });
  const copy = x.isContiguous ? undefined : x.contiguous();
  const args = {
    x: (copy ?? x).native(fn),
    staging: buffers.staging.native(fn),
    accumulator: buffers.accumulator.native(fn),
    staged: buffers.staged,
    groups: g.groups,
    kernelH: g.kernel[0],
    kernelW: g.kernel[1],
    strideH: g.stride[0],
    strideW: g.stride[1],
    padTop: g.padding[0],
    padLeft: g.padding[1],
    padBottom: g.padding[2],
    padRight: g.padding[3],
    dilationH: g.dilation[0],
    dilationW: g.dilation[1],
  };
  return { args, dispose: () => copy?.dispose() };
}

/**
 * Adds the Gram matrices of the im2col patches of `x` `[batch, channels, height, width]` float32 to buffers with a leading
 * dimension of groups; patches are gathered a chunk at a time and never all stored. Returns the rows staged afterwards.
 */
export async function accumulateUnfoldGram(
  fn: string,
  x: Tensor,
  buffers: GramBuffers,
  geometry: UnfoldGeometry,
  options: CallOptions = {},
): Promise<number> {
  const { args, dispose } = prepare(fn, x, buffers, geometry);
  try {
    return (await call(fn, "unfold_gram", x.device, args, options))["newStaged"] ?? 0;
  } finally {
    dispose();
  }
}

/** The blocking twin of `accumulateUnfoldGram`. */
export function accumulateUnfoldGramSync(
  fn: string,
  x: Tensor,
  buffers: GramBuffers,
  geometry: UnfoldGeometry,
  label?: string,
): number {
  const { args, dispose } = prepare(fn, x, buffers, geometry);
  try {
    return callSync(fn, "unfold_gram", x.device, args, label)["newStaged"] ?? 0;
  } finally {
    dispose();
  }
}
