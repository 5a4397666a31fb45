import { encodeOnnx, parseOnnx } from "../../lib/formats/onnx/index.js";
import type { OnnxModel } from "../../lib/formats/onnx/index.js";
import type { QuantizedLinear } from "../../lib/formats/quantized.js";
import {
  checkExportable,
  findLayers,
  readWeight,
  writeDenseWeight,
  writeQuantizedWeight,
} from "../../lib/graph/index.js";
import type { QuantizableLayer } from "../../lib/graph/index.js";
import { SessionHost } from "../../lib/graph/session-host.js";
import { GraphSession } from "../../lib/graph/session.js";
import {
  buildModelBytes,
  constant,
  fakeData,
  int64Tensor,
  node,
  tensor,
  valueInfo,
} from "../helpers/onnx-build.js";
import type { BuildOptions } from "../helpers/onnx-build.js";
import { dequantizeForTest, quantizeForTest } from "../helpers/quantized-build.js";
import type { RoundOptions } from "../helpers/quantized-build.js";

type Grid = Omit<RoundOptions, "rows" | "columns">;

const OPSETS = [9, 11, 13, 21];

let host: SessionHost;
beforeAll(() => {
  host = SessionHost.start();
});
afterAll(() => host.close());

async function run(model: OnnxModel, x: Float32Array, dims: number[]): Promise<Float32Array> {
  const session = await GraphSession.open(encodeOnnx(model).model, { host, threads: 1 });
  expect(session.inputNames).toEqual(["x"]);
  const result = await session.run({ x: { data: x, dims } }, { outputs: ["y"] });
  await session.close();
  return result["y"]!.data as Float32Array;
}

function partsOf(w: Float32Array, layer: QuantizableLayer, grid: Grid): QuantizedLinear[] {
  const rows = layer.rows / layer.groups;
  const { columns } = layer;
  return Array.from({ length: layer.groups }, (_, group) =>
    quantizeForTest(w.subarray(group * rows * columns, (group + 1) * rows * columns), {
      rows,
      columns,
      ...grid,
    }),
  );
}

/** Quantizes every layer and compares with the model that has the dequantized weights. */
async function compare(options: BuildOptions, xDims: number[], grid: Grid): Promise<OnnxModel> {
  const model = parseOnnx(buildModelBytes(options));
  const dense = model.fork();
  const quantized = model.fork();
  for (const layer of findLayers(model)) {
    expect(layer.skipReason).toBeUndefined();
    const parts = partsOf(readWeight(model, layer), layer, grid);
    const w = Float32Array.from(parts.flatMap((part) => [...dequantizeForTest(part)]));
    writeDenseWeight(dense, layer, w);
    expect(readWeight(dense, layer)).toEqual(w);
    writeQuantizedWeight(quantized, layer, parts);
  }
  const x = fakeData(
    xDims.reduce((a, b) => a * b, 1),
    7,
  );
  const [want, got] = [await run(dense, x, xDims), await run(quantized, x, xDims)];
  const scale = Math.max(...want.map(Math.abs));
  const worst = Math.max(...got.map((value, i) => Math.abs(value - want[i]!)));
  expect(scale).toBeGreaterThan(0);
  expect(worst / scale).toBeLessThan(1e-5);
  expect(quantized.opset("com.microsoft")).toBe(1);
  return quantized;
}

const matMul = (options: {
  opset: number;
  K: number;
  N: number;
  asNode?: boolean;
}): BuildOptions => {
  const w = tensor("w", [options.K, options.N], fakeData(options.K * options.N));
  const product = node("MatMul", ["x", "w"], ["y"]);
  return {
    opset: options.opset,
    nodes: options.asNode === true ? [constant(w), product] : [product],
    initializers: options.asNode === true ? [] : [w],
    inputs: [valueInfo("x", ["b", "t", options.K])],
    outputs: [valueInfo("y")],
  };
};

const GRIDS: [string, Grid][] = [
  ["4 bits, groups of 32", { groupSize: 32 }],
  ["4 bits symmetric, groups of 16", { groupSize: 16, sym: true }],
  ["4 bits, one group a row", {}],
  ["4 bits symmetric, one group a row", { sym: true }],
  ["8 bits, groups of 32", { bits: 8, groupSize: 32 }],
  ["8 bits symmetric, one group a row", { bits: 8, sym: true }],
  ["2 bits, groups of 16", { bits: 2, groupSize: 16 }],
  ["3 bits symmetric, groups of 48", { bits: 3, sym: true, groupSize: 48 }],
  ["4 bits, groups of 16, scrambled", { groupSize: 16, scrambled: true }],
  [
    "8 bits symmetric, groups of 32, scrambled",
    { bits: 8, sym: true, groupSize: 32, scrambled: true },
  ],
];

describe("MatMul as MatMulNBits", () => {
  test.each(OPSETS)("opset %i", async (opset) => {
    const model = await compare(matMul({ opset, K: 40, N: 6 }), [2, 3, 40], { groupSize: 16 });
    expect(model.graph.node.map(({ opType }) => opType)).toEqual(["MatMulNBits"]);
    expect(model.graph.initializer.map(({ name }) => name)).not.toContain("w");
  });

  test.each(GRIDS)("%s, 131 columns", async (_, grid) => {
    await compare(matMul({ opset: 13, K: 131, N: 9, asNode: true }), [1, 4, 131], grid);
  });

  test("a weight behind Transpose and Identity leaves nothing behind", async () => {
    const w = tensor("w", [5, 32], fakeData(160));
    const options = {
      opset: 13,
      nodes: [
        constant(w),
        node("Identity", ["w"], ["same"]),
        node("Transpose", ["same"], ["turned"], { perm: [1, 0] }),
        node("MatMul", ["x", "turned"], ["y"]),
      ],
      inputs: [valueInfo("x", [2, 32])],
      outputs: [valueInfo("y")],
    };
    const model = await compare(options, [2, 32], { groupSize: 16 });
    expect(model.graph.node.map(({ opType }) => opType)).toEqual(["MatMulNBits"]);
  });
});

describe("Gemm as MatMulNBits", () => {
  const gemm = (attributes: Parameters<typeof node>[3], c?: number[]): BuildOptions => {
    const transposed = attributes?.["transB"] === 1;
    return {
      opset: 11,
      nodes: [node("Gemm", c === undefined ? ["x", "w"] : ["x", "w", "c"], ["y"], attributes)],
      initializers: [
        tensor("w", transposed ? [7, 33] : [33, 7], fakeData(231)),
        ...(c === undefined
          ? []
          : [
              tensor(
                "c",
                c,
                fakeData(
                  c.reduce((a, b) => a * b, 1),
                  3,
                ),
              ),
            ]),
      ],
      inputs: [valueInfo("x", [3, 33])],
      outputs: [valueInfo("y")],
    };
  };
  test.each<[string, BuildOptions, string[]]>([
    ["no bias", gemm({ transB: 1 }), ["MatMulNBits"]],
    ["bias of a row", gemm({ transB: 1 }, [7]), ["MatMulNBits", "Add"]],
    ["bias of a matrix, [in, out] weight", gemm({}, [3, 7]), ["MatMulNBits", "Add"]],
    ["bias of a column", gemm({}, [3, 1]), ["MatMulNBits", "Add"]],
    ["alpha", gemm({ alpha: { f: -1.75 }, transB: 1 }, [7]), ["MatMulNBits", "Add"]],
    ["beta", gemm({ alpha: { f: 0.5 }, beta: { f: 0.3 } }, [7]), ["MatMulNBits", "Mul", "Add"]],
    ["beta 0", gemm({ beta: { f: 0 } }, [7]), ["MatMulNBits"]],
  ])("%s", async (_, options, ops) => {
    const model = await compare(options, [3, 33], { groupSize: 16 });
    expect(model.graph.node.map(({ opType }) => opType)).toEqual(ops);
  });
});

const conv = (
  opset: number,
  dims: number[],
  attributes: Parameters<typeof node>[3] = {},
): BuildOptions => ({
  opset,
  nodes: [
    constant(tensor("w", dims, fakeData(dims.reduce((a, b) => a * b, 1)))),
    node("Conv", ["x", "w", "b"], ["y"], attributes),
  ],
  initializers: [tensor("b", [dims[0]!], fakeData(dims[0]!, 5))],
  inputs: [valueInfo("x")],
  outputs: [valueInfo("y")],
});

describe("Conv through DequantizeLinear", () => {
  test.each(OPSETS.flatMap((opset) => GRIDS.map(([name, grid]) => [opset, name, grid] as const)))(
    "opset %i, %s",
    async (opset, _, grid) => {
      await compare(conv(opset, [6, 5, 3, 3], { pads: [1, 1, 1, 1] }), [1, 5, 6, 7], grid);
    },
  );

  test.each(OPSETS)("groups, depthwise, 1-D and odd groups of columns, opset %i", async (opset) => {
    await compare(conv(opset, [6, 4, 3, 3], { group: 2 }), [1, 8, 5, 5], { groupSize: 16 });
    await compare(conv(opset, [8, 1, 5, 5], { group: 8, strides: [2, 1] }), [1, 8, 7, 6], {});
    await compare(conv(opset, [4, 6, 3], { dilations: [2] }), [2, 6, 11], { groupSize: 7 });
    await compare(conv(opset, [3, 7, 1, 1]), [1, 7, 2, 2], { groupSize: 3, sym: true });
  });

  test("the shape of the graph follows the opset", async () => {
    const ops = async (opset: number, grid: Grid): Promise<string[]> => {
      const model = await compare(conv(opset, [4, 5, 3, 3]), [1, 5, 4, 4], grid);
      return model.graph.node.map(({ domain, opType }) => (domain === "" ? "" : "ms.") + opType);
    };
    const whole = ["ms.DequantizeLinear", "Reshape", "Conv"];
    expect(await ops(9, { groupSize: 15 })).toEqual(whole);
    expect(await ops(19, {})).toEqual(whole);
    expect(await ops(21, { groupSize: 16 })).toEqual(["DequantizeLinear", "Reshape", "Conv"]);
    expect(await ops(13, { groupSize: 16 })).toEqual([
      "ms.DequantizeLinear",
      "Reshape",
      "Slice",
      "Reshape",
      "Conv",
    ]);
    expect(await ops(13, { groupSize: 16, scrambled: true })).toEqual([
      "ms.DequantizeLinear",
      "Reshape",
      "Gather",
      "Reshape",
      "Conv",
    ]);
  });
});

describe("what is around a layer", () => {
  const shared = (): BuildOptions => ({
    nodes: [
      node("MatMul", ["x", "w"], ["a"]),
      node("Relu", ["a"], ["r"]),
      node("MatMul", ["r", "w"], ["y"]),
    ],
    initializers: [tensor("w", [32, 32], fakeData(1024)), int64Tensor("unused", [1, 2])],
    inputs: [valueInfo("x", [2, 32])],
    outputs: [valueInfo("y")],
  });

  test("a shared weight is stored once when quantized alike, and the dense one goes", async () => {
    const model = await compare(shared(), [2, 32], { groupSize: 16 });
    const names = model.graph.initializer.map(({ name }) => name);
    expect(names).toEqual(["unused", "w_Q4", "w_scales", "w_zero_points"]);
  });

  test("a shared weight stays for those that are not quantized", () => {
    const model = parseOnnx(buildModelBytes(shared()));
    const [layer] = findLayers(model);
    const w = readWeight(model, layer!);
    writeQuantizedWeight(model, layer!, [quantizeForTest(w, { rows: 32, columns: 32 })]);
    writeDenseWeight(model, findLayers(model)[0]!, new Float32Array(1024).fill(3));
    expect(model.graph.initializer.map(({ name }) => name)).toContain("w");
    expect(readWeight(model, findLayers(model)[0]!)[0]).toBe(3);
  });

  test("a dense weight given to one user does not change the other", () => {
    const model = parseOnnx(buildModelBytes(shared()));
    const [first, second] = findLayers(model);
    const before = readWeight(model, second!);
    writeDenseWeight(model, first!, new Float32Array(1024).fill(3));
    expect(readWeight(model, first!)[0]).toBe(3);
    expect(readWeight(model, second!)).toEqual(before);
  });

  test("new names do not collide with old ones", async () => {
    const options = matMul({ opset: 13, K: 32, N: 4 });
    const taken = ["w_Q4", "w_scales", "w_zero_points"].map((name) =>
      tensor(name, [1], Float32Array.of(0)),
    );
    const model = await compare(
      { ...options, initializers: [...options.initializers!, ...taken] },
      [1, 1, 32],
      { groupSize: 16 },
    );
    expect(model.graph.node[0]!.input).toEqual(["x", "w_Q4_2", "w_scales_2", "w_zero_points_2"]);
  });

  test("before IR version 4, initializers are inputs of the graph too", async () => {
    const options = matMul({ opset: 9, K: 32, N: 4 });
    const inputs = [...options.inputs, valueInfo("w", [32, 4])];
    const model = await compare({ ...options, irVersion: 3, inputs }, [1, 1, 32], {});
    const names = model.graph.initializer.map(({ name }) => name);
    expect(model.graph.input.map(({ name }) => name)).toEqual(["x", ...names]);
  });

  test("a weight that a body reads from outside stays", () => {
    const branch = (name: string) => ({
      ...parseOnnx(
        buildModelBytes({
          nodes: [node("Add", ["w", "w"], [name])],
          inputs: [],
          outputs: [valueInfo(name)],
        }),
      ).graph,
    });
    const options = matMul({ opset: 13, K: 32, N: 4 });
    const model = parseOnnx(
      buildModelBytes({
        ...options,
        nodes: [
          ...options.nodes,
          node("If", ["flag"], ["z"], {
            then_branch: { g: branch("t") },
            else_branch: { g: branch("e") },
          }),
        ],
      }),
    );
    const layer = findLayers(model)[0]!;
    writeQuantizedWeight(model, layer, partsOf(readWeight(model, layer), layer, {}));
    expect(model.graph.initializer.map(({ name }) => name)).toContain("w");
  });
});

describe("what cannot be exported", () => {
  const layer = (options: Partial<QuantizableLayer>): QuantizableLayer => ({
    name: "l",
    op: "MatMul",
    inputName: "x",
    outputName: "y",
    weightName: "w",
    rows: 4,
    columns: 100,
    groups: 1,
    parameters: 400,
    flopsPerToken: 800,
    ...options,
  });
  test.each([
    [layer({}), { groupSize: 32 }, undefined],
    [layer({}), { groupSize: 48 }, undefined],
    [layer({}), { groupSize: 24 }, "multiple of 16"],
    [layer({}), { groupSize: 8 }, "multiple of 16"],
    [layer({}), { groupSize: 100 }, undefined],
    [layer({}), { groupSize: -1 }, undefined],
    [layer({ skipReason: "because" }), {}, "because"],
    [layer({ op: "Conv", groups: 2 }), { groupSize: 24 }, undefined],
    [layer({ op: "Conv", groups: 2 }), { groupSize: 24, descAct: true }, "staticGroups"],
    [
      layer({ op: "Conv", groups: 2 }),
      { groupSize: 24, descAct: true, staticGroups: true },
      undefined,
    ],
    [layer({ op: "Conv", groups: 2 }), { groupSize: -1, descAct: true }, undefined],
    [layer({ op: "Conv" }), { groupSize: 24, descAct: true }, undefined],
  ])("%#", (given, options, reason) => {
    const result = checkExportable(given, options);
    if (reason === undefined) expect(result).toBeUndefined();
    else expect(result).toContain(reason);
  });

  test.each([8, 22])("opset %i is refused", (opset) => {
    const model = parseOnnx(buildModelBytes(matMul({ opset, K: 32, N: 4 })));
    const found = findLayers(model)[0]!;
    const parts = partsOf(readWeight(model, found), found, {});
    expect(() => {
      writeQuantizedWeight(model, found, parts);
    }).toThrow(/operator set from 9 to 21/);
  });

  test("parts of another shape, or differently grouped", () => {
    const model = parseOnnx(buildModelBytes(conv(13, [4, 8, 3, 3], { group: 2 })));
    const found = findLayers(model)[0]!;
    const w = readWeight(model, found);
    const good = partsOf(w, found, { groupSize: 24 });
    const write = (parts: QuantizedLinear[]) => () => {
      writeQuantizedWeight(model, found, parts);
    };
    expect(write(good.slice(1))).toThrow(/2 parts/);
    expect(write([good[0]!, quantizeForTest(w, { rows: 4, columns: 72 })])).toThrow(/\[2, 72\]/);
    const scrambled = partsOf(w, found, { groupSize: 24, scrambled: true });
    expect(write([good[0]!, scrambled[1]!])).toThrow(/same groups/);
  });
});
