/** The geometry of Conv nodes: attributes, defaults and auto_pad resolved to plain numbers. */
import type { NodeProto } from "../formats/onnx/index.js";
import { intAttribute, intsAttribute, stringAttribute } from "./node-attributes.js";

export interface ConvGeometry {
  /** Input channels of all groups together. */
  channels: number;
  /** `[height, width]`; height is 1 for a 1-D convolution. */
  kernel: [number, number];
  stride: [number, number];
  /** `[top, left, bottom, right]`. */
  padding: [number, number, number, number];
  dilation: [number, number];
  groups: number;
}

/**
 * Reads a Conv node.
 *
 * @param weightDims `[M, C/groups, k]` or `[M, C/groups, kh, kw]`.
 * @param inputShape the declared shape of the input, for auto_pad with a stride.
 * @returns the geometry, or the reason why it is not supported.
 */
export function convGeometry(
  node: NodeProto,
  weightDims: readonly number[],
  inputShape: readonly (number | undefined)[] | undefined,
): ConvGeometry | string {
  const spatial = weightDims.length - 2;
  if (spatial !== 1 && spatial !== 2) return `it is a ${spatial}-D convolution`;
  const [outputs = 0, groupChannels = 0, ...kernel] = weightDims;
  const groups = intAttribute(node, "group", 1);
  if (groups < 1 || outputs % groups !== 0)
    return `${outputs} outputs do not make ${groups} groups`;
  const stride = intsAttribute(node, "strides") ?? kernel.map(() => 1);
  const dilation = intsAttribute(node, "dilations") ?? kernel.map(() => 1);
  const declared = intsAttribute(node, "kernel_shape");
  if (declared !== undefined && declared.join() !== kernel.join()) {
    return "kernel_shape differs from the shape of its weight";
  }
  if (stride.length !== spatial || dilation.length !== spatial) {
    return "strides or dilations have another number of dimensions than its weight";
  }
  if ([...stride, ...dilation].some((value) => value < 1)) return "a stride or dilation is below 1";
  const pads = resolvePads(node, { kernel, stride, dilation }, inputShape?.slice(2));
  if (typeof pads === "string") return pads;
  const [k, s, d] = [kernel, stride, dilation].map((values) => pair(values, 1));
  const [begin, end] = [pair(pads.slice(0, spatial), 0), pair(pads.slice(spatial), 0)];
  return {
    channels: groupChannels * groups,
    kernel: k ?? [1, 1],
    stride: s ?? [1, 1],
    padding: [...begin, ...end],
    dilation: d ?? [1, 1],
    groups,
  };
}

/** Pads in ONNX order: all begins, then all ends. */
function resolvePads(
  node: NodeProto,
  window: { kernel: readonly number[]; stride: readonly number[]; dilation: readonly number[] },
  sizes: readonly (number | undefined)[] | undefined,
): number[] | string {
  const { kernel, stride, dilation } = window;
  const autoPad = stringAttribute(node, "auto_pad", "NOTSET");
  if (autoPad === "VALID") return [...kernel, ...kernel].map(() => 0);
  if (autoPad === "NOTSET" || autoPad === "") {
    const pads = intsAttribute(node, "pads") ?? [...kernel, ...kernel].map(() => 0);
    if (pads.length !== 2 * kernel.length) return "pads have another number of dimensions";
    return pads.some((pad) => pad < 0) ? "a pad is negative" : pads;
  }
  if (autoPad !== "SAME_UPPER" && autoPad !== "SAME_LOWER") return `auto_pad is ${autoPad}`;
  const begins: number[] = [];
  const ends: number[] = [];
  for (const [axis, extent] of kernel.entries()) {
    const step = stride[axis] ?? 1;
    const reach = (extent - 1) * (dilation[axis] ?? 1);
    const size = sizes?.[axis];
    // With stride 1 the total does not depend on the input.
    let total = reach;
    if (step > 1) {
      if (size === undefined) {
        return `auto_pad ${autoPad} with stride ${step} needs an input size that the model does not declare`;
      }
      total = Math.max((Math.ceil(size / step) - 1) * step + reach + 1 - size, 0);
    }
    const small = Math.floor(total / 2);
    begins.push(autoPad === "SAME_UPPER" ? small : total - small);
    ends.push(autoPad === "SAME_UPPER" ? total - small : small);
  }
  return [...begins, ...ends];
}

/** One spatial dimension is the width of an image one row high. */
function pair(values: readonly number[], rowValue: number): [number, number] {
  const [first = rowValue, second] = values;
  return second === undefined ? [rowValue, first] : [first, second];
}
