/** A small model with every kind of layer, and data to calibrate it on, for tests of whole jobs. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Feeds } from "../../lib/graph/element-types.js";
import {
  buildModelBytes,
  type BuildOptions,
  constant,
  fakeData,
  node,
  tensor,
  valueInfo,
} from "./onnx-build.js";

/** Weights of a size that keeps activations of order one. */
const weight = (name: string, dims: number[], seed: number) => {
  const size = dims.reduce((a, b) => a * b, 1);
  const fanIn = dims.length === 4 ? size / dims[0]! : dims[0]!;
  return tensor(
    name,
    dims,
    fakeData(size, seed).map((value) => value / Math.sqrt(fanIn)),
  );
};

/**
 * x [N, 3, 6, 6]: Conv, depthwise Conv, MatMul, two MatMuls of one input, two MatMuls of activations
 * and a Gemm with bias. Runs at every opset from 9 to 21. Weights are initializers but for "stem", a Constant.
 */
export function jobModel(change: Partial<BuildOptions> = {}): BuildOptions {
  return {
    opset: 11,
    nodes: [
      constant(weight("stem.w", [8, 3, 3, 3], 1)),
      node("Conv", ["x", "stem.w"], ["c0"], { pads: [1, 1, 1, 1] }, { name: "stem" }),
      node("Relu", ["c0"], ["r0"]),
      node(
        "Conv",
        ["r0", "dw.w"],
        ["c1"],
        { group: 8, strides: [2, 2], pads: [1, 1, 1, 1] },
        { name: "dw" },
      ),
      node("Flatten", ["c1"], ["f"]),
      node("MatMul", ["f", "hidden.w"], ["h"], {}, { name: "hidden" }),
      node("Relu", ["h"], ["r1"]),
      node("MatMul", ["r1", "q.w"], ["q"], {}, { name: "q" }),
      node("MatMul", ["r1", "k.w"], ["k"], {}, { name: "k" }),
      node("Transpose", ["k"], ["kT"], { perm: [1, 0] }),
      node("MatMul", ["q", "kT"], ["scores"], {}, { name: "scores" }),
      node("Softmax", ["scores"], ["p"], { axis: 1 }),
      node("MatMul", ["p", "r1"], ["m"], {}, { name: "mix" }),
      node("Add", ["r1", "m"], ["s"]),
      node("Gemm", ["s", "head.w", "head.b"], ["y"], { transB: 1 }, { name: "head" }),
    ],
    initializers: [
      weight("dw.w", [8, 1, 3, 3], 2),
      weight("hidden.w", [72, 40], 3),
      weight("q.w", [40, 24], 4),
      weight("k.w", [40, 24], 5),
      weight("head.w", [10, 40], 6),
      tensor("head.b", [10], fakeData(10, 7)),
    ],
    inputs: [valueInfo("x", ["N", 3, 6, 6])],
    outputs: [valueInfo("y", ["N", 10])],
    ...change,
  };
}

/** Names of the layers of `jobModel` that can be quantized, in order. */
export const JOB_LAYERS = ["stem", "dw", "hidden", "q", "k", "head"];

export async function writeModel(path: string, change: Partial<BuildOptions> = {}): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, buildModelBytes(jobModel(change)));
}

/** Batches of smooth, so correlated, images. */
export function jobSamples(
  options: { batches?: number; size?: number; seed?: number } = {},
): Feeds[] {
  const { batches = 6, size = 8, seed = 100 } = options;
  return Array.from({ length: batches }, (_, batch) => {
    const data = fakeData(size * 108, seed + batch);
    for (let i = 1; i < data.length; i += 1) data[i] = 0.8 * data[i - 1]! + 0.6 * data[i]!;
    return { x: { data, dims: [size, 3, 6, 6] } };
  });
}
