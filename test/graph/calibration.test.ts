import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeNpz, encodeSafetensors } from "../../lib/formats/index.js";
import type { NpyArray } from "../../lib/formats/index.js";
import { OnnxModel } from "../../lib/formats/onnx/index.js";
import { captureInputs } from "../../lib/graph/calibration.js";
import { modelInputs, type ModelInput } from "../../lib/graph/model-inputs.js";
import { readSamples, type SampleSource } from "../../lib/graph/samples.js";
import type { Feeds } from "../../lib/graph/session.js";
import { buildModel, constant, fakeData, node, tensor, valueInfo } from "../helpers/onnx-build.js";

const threads = { threads: 1 };
const row = (...values: number[]): Feeds => ({
  x: { data: Float32Array.from(values), dims: [values.length / 2, 2] },
});

async function* from<T>(...items: T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** x -> a, b (both read x) -> c (reads relu(a)); the last node is read by no layer. */
function threeLayers(): OnnxModel {
  return new OnnxModel(
    buildModel({
      nodes: [
        constant(tensor("Wa", [2, 2], Float32Array.of(1, 2, 3, -4))),
        node("MatMul", ["x", "Wa"], ["a"], {}, { name: "first" }),
        node("MatMul", ["x", "Wb"], ["b"], {}, { name: "second" }),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "Wb"], ["c"], {}, { name: "third" }),
        // Cannot run (sizes), but is not needed either.
        node("Add", ["c", "bad"], ["z"]),
      ],
      initializers: [
        tensor("Wb", [2, 3], Float32Array.of(1, 0, 0, 0, 1, 0)),
        tensor("bad", [5], new Float32Array(5)),
      ],
      inputs: [valueInfo("x", ["n", 2])],
      outputs: [valueInfo("z")],
    }),
  );
}
const layers = [
  { name: "first", inputName: "x" },
  { name: "second", inputName: "x" },
  { name: "third", inputName: "r" },
];

describe("captureInputs", () => {
  test("hands over each distinct input once per batch, in order", async () => {
    const seen: unknown[] = [];
    const progress: number[] = [];
    const batches = await captureInputs(
      threeLayers(),
      layers,
      from(row(1, 1), row(2, 0, 0, 1)),
      async (names, inputName, { data, dims, type }, batch) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        seen.push([names, inputName, type, dims, Array.from(data as Float32Array), batch]);
      },
      { ...threads, onProgress: ({ done }) => progress.push(done) },
    );
    expect(batches).toBe(2);
    expect(progress).toEqual([1, 2]);
    expect(seen).toEqual([
      [["first", "second"], "x", "float32", [1, 2], [1, 1], 0],
      [["third"], "r", "float32", [1, 2], [4, 0], 0],
      [["first", "second"], "x", "float32", [2, 2], [2, 0, 0, 1], 1],
      [["third"], "r", "float32", [2, 2], [2, 4, 3, 0], 1],
    ]);
  });

  test("reads at most one batch ahead", async () => {
    let given = 0;
    async function* counted(): AsyncGenerator<Feeds> {
      for (; given < 5; given++) yield await Promise.resolve(row(1, 2));
    }
    const ahead: number[] = [];
    await captureInputs(
      threeLayers(),
      layers,
      counted(),
      async (_, __, ___, batch) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        ahead.push(given - batch);
      },
      threads,
    );
    expect(Math.max(...ahead)).toBeLessThanOrEqual(1);
  });

  test("inputs of the model alone need no session", async () => {
    const seen: string[] = [];
    await captureInputs(threeLayers(), layers.slice(0, 2), from(row(1, 1)), (names) => {
      seen.push(...names);
    });
    expect(seen).toEqual(["first", "second"]);
  });

  test("an error of the callback or of the samples ends it and passes through", async () => {
    const boom = new Error("boom");
    let closed = false;
    async function* endless(): AsyncGenerator<Feeds> {
      try {
        for (;;) yield await Promise.resolve(row(1, 1));
      } finally {
        closed = true;
      }
    }
    await expect(
      captureInputs(threeLayers(), layers, endless(), () => Promise.reject(boom), threads),
    ).rejects.toBe(boom);
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(true);
    async function* failing(): AsyncGenerator<Feeds> {
      yield await Promise.resolve(row(1, 1));
      throw boom;
    }
    await expect(
      captureInputs(threeLayers(), layers, failing(), () => undefined, threads),
    ).rejects.toBe(boom);
  });

  test("a batch that onnxruntime refuses is named", async () => {
    const bad: Feeds = { x: { data: new Float32Array(3), dims: [1, 3] } };
    await expect(
      captureInputs(threeLayers(), layers, from(row(1, 1), bad), () => undefined, threads),
    ).rejects.toThrow(/captureInputs: batch 1: .*onnxruntime failed/);
  });

  test("abort", async () => {
    const controller = new AbortController();
    const running = captureInputs(
      threeLayers(),
      layers,
      from(row(1, 1), row(1, 1)),
      () => {
        controller.abort();
      },
      { ...threads, signal: controller.signal },
    );
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
  });

  test("no layers", async () => {
    await expect(
      captureInputs(threeLayers(), [], from(row(1, 1)), () => undefined),
    ).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});

test("modelInputs leaves out what an initializer fills and reads open sizes", () => {
  const model = new OnnxModel(
    buildModel({
      irVersion: 3,
      nodes: [node("MatMul", ["x", "W"], ["y"])],
      initializers: [tensor("W", [2, 2], fakeData(4))],
      inputs: [
        valueInfo("x", ["n", -1, 2], "float16"),
        valueInfo("W", [2, 2]),
        valueInfo("any", undefined, "uint4"),
      ],
      outputs: [valueInfo("y")],
    }),
  );
  expect(modelInputs(model)).toEqual([
    { name: "x", type: "float16", dims: ["n", undefined, 2] },
    { name: "any", type: undefined, dims: undefined },
  ]);
});

describe("readSamples", () => {
  const inputs: ModelInput[] = [{ name: "x", type: "float32", dims: ["n", 2] }];
  const read = (source: unknown, options = {}): Promise<Feeds[]> =>
    collect(readSamples(source as SampleSource, inputs, options));

  test.each<[string, unknown]>([
    ["an array", [row(1, 2), row(3, 4)]],
    ["an array of promises", [Promise.resolve(row(1, 2)), row(3, 4)]],
    ["an async generator", from(row(1, 2), row(3, 4))],
    ["a function that gives an array", () => [row(1, 2), row(3, 4)]],
    ["an async generator function", () => from(row(1, 2), row(3, 4))],
    ["a function that gives a promise", () => Promise.resolve(new Set([row(1, 2), row(3, 4)]))],
  ])("takes %s", async (_, source) => {
    expect(await read(source)).toEqual([row(1, 2), row(3, 4)]);
  });

  const good = row(1, 2);
  test.each<[string, unknown, string, RegExp]>([
    ["nothing", undefined, "ARGUMENT", /iterable of samples/],
    ["a number", 5, "ARGUMENT", /iterable of samples/],
    ["a function that gives nothing", () => undefined, "ARGUMENT", /iterable of samples/],
    ["no samples", [], "ARGUMENT", /at least one sample/],
    ["a sample that is no object", [good, 7], "ARGUMENT", /sample 1 but received 7/],
    ["a bare array", [good, new Float32Array(2)], "ARGUMENT", /sample 1 but received Float32Array/],
    ["a missing input", [good, good, {}], "ARGUMENT", /input "x" of sample 2/],
    ["an unknown input", [{ ...good, y: good["x"] }], "ARGUMENT", /sample 0 but received "y"/],
    ["an input without dims", [{ x: { data: new Float32Array(2) } }], "ARGUMENT", /data, dims/],
    ["plain numbers", [{ x: { data: [1, 2], dims: [1, 2] } }], "DTYPE", /Float32Array/],
    ["another type", [{ x: { data: new Float64Array(2), dims: [1, 2] } }], "DTYPE", /Float64Array/],
    ["another rank", [{ x: { data: new Float32Array(2), dims: [2] } }], "SHAPE", /\[n, 2\]/],
    ["another size", [{ x: { data: new Float32Array(3), dims: [1, 3] } }], "SHAPE", /\[n, 2\]/],
    ["dims of other data", [{ x: { data: new Float32Array(3), dims: [1, 2] } }], "SHAPE", /of 3/],
    ["negative dims", [{ x: { data: new Float32Array(2), dims: [-1, -2] } }], "SHAPE", /dims/],
  ])("refuses %s", async (_, source, code, message) => {
    const failure = read(source);
    await expect(failure).rejects.toMatchObject({ code, details: { reason: "calibration" } });
    await expect(failure).rejects.toThrow(message);
  });

  test("an error of the user's code is the cause, with the sample's number", async () => {
    const boom = new Error("boom");
    function* failing(): Generator<Feeds> {
      yield row(1, 2);
      throw boom;
    }
    await expect(read(failing)).rejects.toMatchObject({
      message: "calibration: sample 1 failed: boom",
      cause: boom,
      details: { sample: 1 },
    });
    await expect(read([Promise.reject(boom)])).rejects.toMatchObject({ cause: boom });
    await expect(
      read(() => {
        throw boom;
      }),
    ).rejects.toMatchObject({ cause: boom });
  });

  test("an abort is answered while the user's code hangs", async () => {
    const controller = new AbortController();
    async function* hanging(): AsyncGenerator<Feeds> {
      yield await new Promise<Feeds>(() => undefined);
    }
    const running = read(hanging(), { signal: controller.signal });
    setTimeout(() => {
      controller.abort();
    }, 5);
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
  });
});

describe("sample files", () => {
  const inputs: ModelInput[] = [{ name: "x", type: "float32", dims: ["n", 2] }];
  const one: ModelInput[] = [{ name: "x", type: "float32", dims: [1, 2] }];
  let folder: string;
  const npz = (name: string, arrays: Record<string, NpyArray>): string => {
    const path = join(folder, name);
    writeFileSync(path, encodeNpz(new Map(Object.entries(arrays))));
    return path;
  };
  const floats = (...values: number[]): NpyArray => ({
    dtype: "float32",
    shape: [values.length / 2, 2],
    data: Float32Array.from(values),
  });
  const read = (path: string, takes = inputs, options = {}): Promise<Feeds[]> =>
    collect(readSamples(path, takes, options));

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "osculate-samples-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test("one .npz is one batch, unless it is to be cut", async () => {
    const path = npz("a.npz", { x: floats(1, 2, 3, 4, 5, 6) });
    expect(await read(path)).toEqual([row(1, 2, 3, 4, 5, 6)]);
    expect(await read(path, inputs, { batchSize: 2 })).toEqual([row(1, 2, 3, 4), row(5, 6)]);
    expect(await read(path, one)).toEqual([row(1, 2), row(3, 4), row(5, 6)]);
  });

  test("one .safetensors likewise", async () => {
    const path = join(folder, "a.safetensors");
    const x = { dtype: "F32" as const, shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };
    writeFileSync(path, Buffer.concat(encodeSafetensors(new Map([["x", x]]))));
    expect(await read(path)).toEqual([row(1, 2, 3, 4)]);
    expect(await read(path, one)).toEqual([row(1, 2), row(3, 4)]);
  });

  test("a folder is read in the order of names, other files left alone", async () => {
    npz("b.npz", { x: floats(3, 4) });
    npz("B.npz", { x: floats(1, 2) });
    npz("c10.npz", { x: floats(5, 6) });
    writeFileSync(join(folder, "README.txt"), "hello");
    expect(await read(folder)).toEqual([row(1, 2), row(3, 4), row(5, 6)]);
  });

  test.each<[string, (path: string) => string, string, RegExp]>([
    ["a path that is not there", (f) => join(f, "nope.npz"), "IO", /nope\.npz/],
    ["an empty folder", (f) => f, "ARGUMENT", /\.npz or \.safetensors files/],
    ["a file of another kind", (f) => write(f, "a.csv", "1,2"), "ARGUMENT", /a\.csv/],
    ["a damaged .npz", (f) => write(f, "a.npz", "no zip"), "FORMAT", /a\.npz/],
    ["a damaged .safetensors", (f) => write(f, "a.safetensors", "x"), "FORMAT", /a\.safetensors/],
    ["no arrays", () => npz("a.npz", {}), "ARGUMENT", /at least one array/],
    ["an unknown name", () => npz("a.npz", { y: floats(1, 2) }), "ARGUMENT", /received "y"/],
    [
      "the types NumPy makes by default",
      () => npz("a.npz", { x: { dtype: "float64", shape: [1, 2], data: Float64Array.of(1, 2) } }),
      "DTYPE",
      /float32 values .* received "float64"/,
    ],
  ])("refuses %s", async (_, make, code, message) => {
    const failure = read(make(folder));
    await expect(failure).rejects.toMatchObject({ code });
    await expect(failure).rejects.toThrow(message);
  });

  test("float16 and uint16 arrays are told apart", async () => {
    const takes: ModelInput[] = [{ name: "x", type: "uint16", dims: undefined }];
    const x: NpyArray = { dtype: "float16", shape: [1], data: Uint16Array.of(1) };
    await expect(read(npz("a.npz", { x }), takes)).rejects.toMatchObject({ code: "DTYPE" });
  });

  test("cutting needs one count of samples", async () => {
    const two: ModelInput[] = [...one, { name: "y", type: "float32", dims: [1, 2] }];
    const path = npz("a.npz", { x: floats(1, 2, 3, 4), y: floats(1, 2) });
    await expect(read(path, two)).rejects.toMatchObject({ code: "SHAPE" });
    const fixed: ModelInput[] = [{ name: "x", type: "float32", dims: [2, 2] }];
    const odd = npz("b.npz", { x: floats(1, 2, 3, 4, 5, 6) });
    await expect(read(odd, fixed)).rejects.toThrow("a multiple of 2 samples");
    await expect(read(odd, inputs, { batchSize: 0 })).rejects.toMatchObject({ code: "ARGUMENT" });
  });

  // Through node itself: the test runner's own module system has no import() of files.
  test("modules: an iterable, a function, CommonJS, errors", () => {
    mkdirSync(join(folder, "with space"));
    const sample = `{ x: { data: Float32Array.of(1, 2), dims: [1, 2] } }`;
    const modules = [
      write(folder, "list.mjs", `export default [${sample}];`),
      write(folder, "with space/#1.mjs", `export default async function* () { yield ${sample}; }`),
      write(folder, "old.cjs", `module.exports = () => [${sample}];`),
      write(folder, "throws.mjs", `throw new Error("boom");`),
      write(folder, "nothing.mjs", `export const x = 1;`),
    ];
    const script = write(
      folder,
      "read.mjs",
      `import { readSamples } from ${JSON.stringify(join(process.cwd(), "lib/graph/samples.js"))};
       const inputs = [{ name: "x", type: "float32", dims: ["n", 2] }];
       for (const path of ${JSON.stringify(modules)}) {
         try { for await (const { x } of readSamples(path, inputs)) console.log(x.data.join()); }
         catch (error) { console.log(error.code, error.cause?.message); }
       }`,
    );
    const printed = execFileSync(process.execPath, ["--import", "./scripts/ts-node.mjs", script], {
      encoding: "utf8",
      env: { ...process.env, TS_NODE_COMPILER_OPTIONS: '{"rootDir":"."}' },
    });
    expect(printed.trim().split("\n")).toEqual([
      "1,2",
      "1,2",
      "1,2",
      "ARGUMENT boom",
      "ARGUMENT undefined",
    ]);
  });
});

function write(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}
