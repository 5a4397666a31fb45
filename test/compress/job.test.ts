import { spawn } from "node:child_process";
import { once } from "node:events";
import { promises as fs } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { OsculateError } from "../../lib/errors.js";
import { quantizeOnnx } from "../../lib/compress/job.js";
import type { JobEvent, QuantizeOnnxOptions } from "../../lib/compress/job-types.js";
import { verifyOnnx } from "../../lib/compress/verify.js";
import { encodeOnnx, makeTensor, readOnnx, tensorDims } from "../../lib/formats/onnx/index.js";
import { GraphSession } from "../../lib/graph/session.js";
import { acquireLock, readManifest } from "../../lib/io/index.js";
import { buildModelBytes, fakeData, node, tensor, valueInfo } from "../helpers/onnx-build.js";
import { failWrites } from "../helpers/failing-disk.js";
import { JOB_LAYERS, jobModel, jobSamples, writeModel } from "../helpers/job-model.js";

let folder: string;
let model: string;
let output: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "osculate-job-"));
  model = join(folder, "in", "model.onnx");
  output = join(folder, "out.onnx");
  await writeModel(model);
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const options = (change: Partial<QuantizeOnnxOptions> = {}): QuantizeOnnxOptions => ({
  model,
  output,
  calibration: jobSamples(),
  groupSize: 16,
  sym: false,
  threads: 1,
  ...change,
});

/** The files of an output, by ending. */
async function files(path = output): Promise<Record<string, Buffer>> {
  const result: Record<string, Buffer> = {};
  for (const ending of ["", ".data", ".manifest.json"]) {
    try {
      result[ending] = await readFile(path + ending);
    } catch {
      // Not every output has data.
    }
  }
  return result;
}

async function caught(promise: Promise<unknown>): Promise<OsculateError> {
  const error: unknown = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error === undefined) throw new Error("expected a rejection");
  return error as OsculateError;
}

describe("a whole job", () => {
  test.each([
    ["one pass", { trueSequential: false }],
    ["sequential", { trueSequential: true }],
    ["symmetric, per row, 8 bits", { sym: true, groupSize: -1, bits: 8 }],
    ["act-order", { descAct: true, recipe: [{ match: { depthwise: true }, skip: true }] }],
    ["act-order, static groups", { descAct: true, staticGroups: true }],
    ["3 bits", { bits: 3, mse: true }],
  ] satisfies [string, Partial<QuantizeOnnxOptions>][])("%s", async (_name, change) => {
    const events: JobEvent[] = [];
    const result = await quantizeOnnx(
      options({ ...change, onEvent: (event) => events.push(event) }),
    );
    expect(await readdir(folder)).toEqual(["in", "out.onnx", "out.onnx.manifest.json"]);
    expect(result.check).toMatchObject({ kind: "compared", sample: "calibration" });
    expect(result.check.difference).toBeLessThan(1e-5);

    const skipped = "recipe" in change ? ["dw"] : [];
    const quantized = result.rows.filter(({ status }) => status === "quantized");
    expect(quantized.map(({ name }) => name)).toEqual(
      JOB_LAYERS.filter((name) => !skipped.includes(name)),
    );
    expect(result.rows.filter(({ status }) => status === "kept").map(({ name }) => name)).toEqual([
      ...skipped,
      "scores",
      "mix",
    ]);
    for (const { report, name } of quantized) {
      expect(report!.method).toBe("gptq");
      expect(report!.relativeError).toBeGreaterThan(0);
      // Second order must pay on every layer but the tiny depthwise one.
      if (name !== "dw") expect(report!.relativeError!).toBeLessThan(report!.rtnRelativeError!);
    }
    expect(events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(["plan", "calibration", "layer-start", "layer", "check"]),
    );
    const rows = events.flatMap((event) => (event.type === "layer" ? [event] : []));
    expect(rows.map(({ index }) => index)).toEqual(quantized.map((_, i) => i + 1));
    expect(rows.at(-1)!.etaSeconds).toBe(0);

    const report = await verifyOnnx({ output, model });
    expect(report.problems).toEqual([]);
    expect(report.layers.map(({ name }) => name)).toEqual(quantized.map(({ name }) => name));

    // The file runs, and gives about what the original gives.
    const [{ x }] = jobSamples({ batches: 1 }) as [{ x: { data: Float32Array; dims: number[] } }];
    const [before, after] = await Promise.all(
      [model, output].map(async (path) => {
        const session = await GraphSession.open(path, { threads: 1 });
        const { y } = await session.run({ x });
        await session.close();
        return y!.data as Float32Array;
      }),
    );
    const far = before!.reduce((worst, v, i) => Math.max(worst, Math.abs(v - after![i]!)), 0);
    expect(far).toBeGreaterThan(0);
    expect(far).toBeLessThan(1);
  });

  test.each([
    ["groups", {}],
    ["symmetric, 8 bits", { sym: true, bits: 8 }],
    ["per row", { groupSize: -1 }],
    [
      "columns in another order",
      { descAct: true, recipe: [{ match: { depthwise: true }, skip: true }] },
    ],
  ] satisfies [string, Partial<QuantizeOnnxOptions>][])(
    "bytesAfter of every row is what the file holds: %s",
    async (_name, change) => {
      const { rows } = await quantizeOnnx(options(change));
      const { graph } = await readOnnx(output);
      for (const row of rows.filter(({ status }) => status === "quantized")) {
        const pattern = new RegExp(`^${row.name}\\.w_(Q\\d|scales|zero_points|order|places)$`);
        const tensors = graph.initializer.filter(({ name }) => pattern.test(name));
        const bytes = tensors.reduce((sum, { rawData }) => sum + rawData.length, 0);
        expect([row.name, bytes]).toEqual([row.name, row.bytesAfter]);
      }
    },
  );

  test.each([9, 13, 21])("opset %d: written, compared and read back", async (opset) => {
    await writeModel(model, { opset });
    for (const change of [{}, { sym: true, groupSize: 32, staticGroups: true, descAct: true }]) {
      await quantizeOnnx(options({ ...change, overwrite: true }));
      expect((await readOnnx(output)).opset()).toBe(opset);
      expect((await verifyOnnx({ output, model })).problems).toEqual([]);
    }
  });

  test("rtn needs no data; with data it reports the error on them", async () => {
    const plain = await quantizeOnnx(options({ method: "rtn", calibration: undefined }));
    expect(plain.check).toMatchObject({ kind: "compared", sample: "synthetic" });
    expect(plain.rows[0]!.report!.relativeError).toBeUndefined();
    expect((await verifyOnnx({ output, model })).layers[0]).toMatchObject({
      kind: "weights",
      ok: true,
    });
    const before = await files();
    const measured = await quantizeOnnx(options({ method: "rtn", overwrite: true }));
    expect(measured.rows[0]!.report!.relativeError).toBeGreaterThan(0);
    expect((await files())[""]).toEqual(before[""]);
  });

  test("the same job gives the same three files; sequential ones differ from one-pass ones", async () => {
    await quantizeOnnx(options());
    const first = await files();
    await quantizeOnnx(options({ overwrite: true }));
    expect(await files()).toEqual(first);
    await quantizeOnnx(options({ overwrite: true, trueSequential: true }));
    expect((await files())[""]).not.toEqual(first[""]);
  });

  test("layers of one input see the same Gram matrix as alone", async () => {
    await quantizeOnnx(options());
    const together = (await readOnnx(output)).graph.initializer.find(
      ({ name }) => name === "k.w_Q4",
    );
    const recipe = [{ match: "k" }, { match: "*", skip: true }];
    await quantizeOnnx(options({ recipe, overwrite: true }));
    const alone = (await readOnnx(output)).graph.initializer.find(({ name }) => name === "k.w_Q4");
    expect(Buffer.from(alone!.rawData)).toEqual(Buffer.from(together!.rawData));
  });

  test("1-D convolutions and more than one dimension of tokens", async () => {
    const path = join(folder, "in", "1d.onnx");
    const bytes = buildModelBytes({
      nodes: [
        node("Conv", ["x", "a.w"], ["c"], { pads: [2, 0], dilations: [2] }, { name: "a" }),
        node("MatMul", ["c", "b.w"], ["y"], {}, { name: "b" }),
      ],
      initializers: [tensor("a.w", [4, 3, 2], fakeData(24)), tensor("b.w", [16, 5], fakeData(80))],
      inputs: [valueInfo("x", [2, 3, 16])],
      outputs: [valueInfo("y", [2, 4, 5])],
    });
    await writeFile(path, bytes);
    const x = { data: fakeData(96, 3), dims: [2, 3, 16] };
    const result = await quantizeOnnx(options({ model: path, calibration: [{ x }, { x }] }));
    expect(result.rows.map(({ report }) => report!.tokens)).toEqual([64, 16]);
    expect((await verifyOnnx({ output })).ok).toBe(true);
  });
});

describe("external data", () => {
  /** Moves the initializers of the model into a data file beside it. */
  async function externalize(): Promise<void> {
    const read = await readOnnx(model);
    read.graph.initializer = read.graph.initializer.map((old) => {
      const { data: values } = read.tensorData(old);
      return makeTensor(old.name, { dtype: "float32", dims: tensorDims(old), values });
    });
    const external = { externalDataName: "model.onnx.data", externalThresholdBytes: 64 };
    const { model: bytes, data } = encodeOnnx(read, external);
    await writeFile(model, bytes);
    await writeFile(`${model}.data`, data!);
  }

  test("is an input with a hash of its own; without a large tensor there is no OUT.data", async () => {
    await externalize();
    const result = await quantizeOnnx(options({ recipe: [{ match: "hidden", skip: true }] }));
    expect(result.data).toBeUndefined();
    const manifest = await readManifest(output);
    expect(manifest.inputs.map(({ role, file }) => [role, file])).toEqual([
      ["model", "model.onnx"],
      ["external data", "model.onnx.data"],
    ]);
    expect((await verifyOnnx({ output, model })).problems).toEqual([]);
  });

  test("a large tensor that is kept goes to OUT.data, which is checked too", async () => {
    const big = tensor("big", [130, 130], fakeData(130 * 130));
    const base = jobModel();
    await writeModel(model, {
      nodes: [...base.nodes, node("ReduceSum", ["big"], ["z"], { keepdims: 0 })],
      initializers: [...base.initializers!, big],
      outputs: [...base.outputs, valueInfo("z", [])],
    });
    await externalize();
    const result = await quantizeOnnx(options());
    expect(result.data).toBe(`${output}.data`);
    expect((await stat(result.data!)).size).toBe(130 * 130 * 4);
    expect((await verifyOnnx({ output, model })).problems).toEqual([]);
    await truncate(result.data!, 130 * 130 * 4 - 1);
    const report = await verifyOnnx({ output });
    expect(report.files.map(({ ok }) => ok)).toEqual([true, false]);
    expect(report.problems.join("\n")).toMatch(/out\.onnx\.data: its SHA-256 .*external data/s);
    // Overwritten by a job without external data, the data file goes.
    await writeModel(model);
    await quantizeOnnx(options({ overwrite: true }));
    expect(await readdir(folder)).toEqual(["in", "out.onnx", "out.onnx.manifest.json"]);
  });
});

describe("interrupted", () => {
  /** Runs a script of test/fixtures in a process of its own; its samples are `jobSamples()`. */
  const startFixture = (name: string, argument: unknown) =>
    spawn(
      process.execPath,
      ["--import", "./scripts/ts-node.mjs", `test/fixtures/${name}.ts`, JSON.stringify(argument)],
      {
        cwd: resolve(__dirname, "../.."),
        stdio: ["ignore", "pipe", "inherit"],
      },
    );

  const wanted = async (change: Partial<QuantizeOnnxOptions>): Promise<Record<string, Buffer>> => {
    const other = join(folder, "whole", "out.onnx");
    await writeModel(join(folder, "whole", "dummy"));
    await quantizeOnnx(options({ ...change, output: other }));
    return files(other);
  };

  test.each([
    ["one pass", { trueSequential: false }],
    ["sequential", { trueSequential: true }],
  ])(
    "an abort keeps finished layers, and resume gives the same bytes: %s",
    async (_name, change) => {
      const want = await wanted(change);
      const controller = new AbortController();
      const aborted = quantizeOnnx(
        options({
          ...change,
          signal: controller.signal,
          onEvent: (event) => {
            if (event.type === "layer" && event.index === 3) controller.abort();
          },
        }),
      );
      await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
      expect(await readdir(folder)).toEqual(["in", "out.onnx.partial", "whole"]);
      expect(await readdir(`${output}.partial`)).toEqual(["items", "journal.jsonl"]);

      const again = await caught(quantizeOnnx(options(change)));
      expect(again.message).toMatch(/3 finished layers .*--resume.*--overwrite/s);
      const { rows } = await quantizeOnnx(options({ ...change, resume: true }));
      expect(rows.filter(({ resumed }) => resumed).map(({ name }) => name)).toEqual(
        JOB_LAYERS.slice(0, 3),
      );
      expect(await files()).toEqual(want);
      expect(await readdir(folder)).toEqual(["in", "out.onnx", "out.onnx.manifest.json", "whole"]);
    },
  );

  test("kill -9 in the middle, then resume: the same bytes", async () => {
    const want = await wanted({});
    const child = startFixture("killed-job", { ...options({ calibration: undefined }), after: 2 });
    const [, signal] = (await once(child, "exit")) as [number | null, string | null];
    expect(signal).toBe("SIGKILL");
    expect((await readdir(`${output}.partial`)).sort()).toEqual(["items", "journal.jsonl", "lock"]);
    const { rows } = await quantizeOnnx(options({ resume: true }));
    expect(rows.filter(({ resumed }) => resumed)).toHaveLength(2);
    expect(await files()).toEqual(want);
  });

  test("a worker thread that is terminated in the middle: the process lives, the job can go on", async () => {
    const want = await wanted({});
    const child = startFixture("terminated-job", options({ calibration: undefined }));
    let said = "";
    child.stdout.on("data", (text: Buffer) => (said += String(text)));
    const [code] = (await once(child, "exit")) as [number | null];
    expect(code).toBe(0);
    const done = JSON.parse(said) as string[];
    expect(done.slice(0, 2)).toEqual(JOB_LAYERS.slice(0, 2));
    const { rows } = await quantizeOnnx(options({ resume: true }));
    expect(rows.filter(({ resumed }) => resumed)).toHaveLength(done.length);
    expect(await files()).toEqual(want);
  });

  test("resume when every layer was done, and when there is nothing to resume", async () => {
    const want = await wanted({});
    const controller = new AbortController();
    const aborted = quantizeOnnx(
      options({
        signal: controller.signal,
        onEvent: ({ type }) => {
          if (type === "check") controller.abort();
        },
      }),
    );
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
    await quantizeOnnx(options({ resume: true }));
    expect(await files()).toEqual(want);
    await rm(output);
    await rm(`${output}.manifest.json`);
    await quantizeOnnx(options({ resume: true }));
    expect(await files()).toEqual(want);
  });

  test.each<[string, Partial<QuantizeOnnxOptions>, RegExp]>([
    ["another recipe", { bits: 8 }, /another job \(different: recipe\)/],
    ["other data", { calibration: jobSamples({ seed: 5 }) }, /calibration data are not those/],
    [
      "less data",
      { calibration: jobSamples({ batches: 2 }) },
      /calibration data are not those.*now 2/,
    ],
  ])("resume with %s is refused and nothing is lost", async (_name, change, message) => {
    const controller = new AbortController();
    const onEvent = ({ type }: JobEvent): void => {
      if (type === "layer") controller.abort();
    };
    await caught(quantizeOnnx(options({ signal: controller.signal, onEvent })));
    const error = await caught(quantizeOnnx(options({ ...change, resume: true })));
    expect(error.message).toMatch(message);
    const { rows } = await quantizeOnnx(options({ resume: true }));
    expect(rows.filter(({ resumed }) => resumed)).toHaveLength(1);
  });

  test.each(["calibration", "layer-start", "layer"])(
    "a callback that throws at %s leaves no output",
    async (type) => {
      const job = quantizeOnnx(
        options({
          onEvent: (event) => {
            if (event.type === type) throw new Error("from the callback");
          },
        }),
      );
      await expect(job).rejects.toThrow("from the callback");
      const left = (await readdir(folder)).filter((name) => name !== "in");
      expect(left).toEqual(type === "layer" ? ["out.onnx.partial"] : []);
      await quantizeOnnx(options({ resume: true }));
    },
  );

  test("a disk that fills up anywhere leaves no output, and resume mends it", async () => {
    const want = await wanted({});
    const counts = [1, 2, 5, 8, 3, 4];
    for (const count of counts) {
      failWrites("ENOSPC", count);
      const error = await caught(quantizeOnnx(options({ resume: true })));
      jest.restoreAllMocks();
      expect(error).toMatchObject({ code: "IO" });
      expect(error.message).toContain("disk is full");
      const left = (await readdir(folder)).filter((name) => !["in", "whole"].includes(name));
      expect([[], ["out.onnx.partial"]]).toContainEqual(left);
    }
    await quantizeOnnx(options({ resume: true }));
    expect(await files()).toEqual(want);
  });

  test.each(["out.onnx", "out.onnx.manifest.json"])(
    "a job that dies just before %s appears is mended by resume",
    async (name) => {
      const want = await wanted({});
      await writeFile(output, "an older output");
      const rename = fs.rename.bind(fs);
      jest.spyOn(fs, "rename").mockImplementation((from, to) => {
        const dies = to === join(folder, name);
        return dies ? Promise.reject(new Error("died")) : rename(from, to);
      });
      await expect(quantizeOnnx(options({ overwrite: true }))).rejects.toThrow("died");
      jest.restoreAllMocks();
      await quantizeOnnx(options({ resume: true }));
      expect(await files()).toEqual(want);
      expect((await readdir(folder)).filter((file) => file.includes("partial"))).toEqual([]);
    },
  );

  test("an abort during calibration leaves nothing", async () => {
    const controller = new AbortController();
    const endless = async function* () {
      for (let i = 0; ; i += 1) {
        yield await Promise.resolve(jobSamples({ batches: 1, seed: i })[0]);
        if (i === 3) controller.abort();
      }
    };
    const job = quantizeOnnx(options({ calibration: endless, signal: controller.signal }));
    await expect(job).rejects.toMatchObject({ code: "ABORTED" });
    expect(await readdir(folder)).toEqual(["in"]);
  });
});

describe("layers in trouble", () => {
  const few = (): Partial<QuantizeOnnxOptions> => ({
    calibration: jobSamples({ batches: 1, size: 4 }),
    dampPercent: 0,
  });

  test("a singular matrix is rescued by damping, said in the row and in the manifest", async () => {
    const { rows } = await quantizeOnnx(options(few()));
    const hidden = rows.find(({ name }) => name === "hidden")!;
    expect(hidden.report).toMatchObject({ method: "gptq", dampPercent: 0.01 });
    expect(hidden.report!.rescued).toMatch(/damping raised to 0.01/);
    expect(hidden.report!.warnings.join()).toMatch(/4 calibration tokens for 72 columns/);
    expect(await readFile(`${output}.manifest.json`, "utf8")).toContain(
      '"rescued": "damping raised',
    );
  });

  test("strict makes it an error that names the layer", async () => {
    const error = await caught(quantizeOnnx(options({ ...few(), strict: true })));
    expect(error).toMatchObject({ code: "NOT_POSITIVE_DEFINITE" });
    expect(error.message).toMatch(/layer \w+ .*strict/);
  });

  test("a layer that sees only zeros is an error, and rounded when the caller says so", async () => {
    const zeros = { x: { data: new Float32Array(2 * 108), dims: [2, 3, 6, 6] } };
    const error = await caught(quantizeOnnx(options({ calibration: [zeros] })));
    expect(error).toMatchObject({ code: "NO_TOKENS" });
    expect(error.message).toContain("stem");
    const { rows } = await quantizeOnnx(options({ calibration: [zeros], fallback: "rtn" }));
    expect(rows[0]!.report).toMatchObject({
      method: "rtn",
      rescued: "rounded to nearest instead of gptq",
    });
    expect((await verifyOnnx({ output, model })).problems).toEqual([]);
  });
});

describe("refused before any work", () => {
  /** Refused: the error, and that nothing was written. */
  async function refused(change: Partial<QuantizeOnnxOptions>): Promise<OsculateError> {
    const before = (await readdir(folder)).sort();
    const started: string[] = [];
    const error = await caught(
      quantizeOnnx(options({ ...change, onEvent: ({ type }) => started.push(type) })),
    );
    expect(started).not.toContain("layer-start");
    expect((await readdir(folder)).sort()).toEqual(before);
    return error;
  }

  test.each<[string, Partial<QuantizeOnnxOptions>, string, RegExp]>([
    [
      "gptq without data",
      { calibration: undefined },
      "ARGUMENT",
      /stem.*needs calibration data.*--method rtn/,
    ],
    ["no samples", { calibration: [] }, "ARGUMENT", /at least one sample/],
    [
      "a sample of another shape",
      { calibration: [{ x: { data: new Float32Array(3), dims: [3] } }] },
      "SHAPE",
      /dims \[N, 3, 6, 6\]/,
    ],
    ["no calibration file", { calibration: "no-such.npz" }, "IO", /no-such.npz: no such file/],
    [
      "a group size that MatMulNBits lacks",
      { groupSize: 24 },
      "FORMAT",
      /layer hidden cannot be written.*multiple of 16/,
    ],
    [
      "act-order of grouped convolutions",
      { descAct: true, groupSize: 4, recipe: [{ match: "op:Conv" }, { match: "*", skip: true }] },
      "FORMAT",
      /dw/,
    ],
    [
      "everything skipped",
      { recipe: [{ match: "*", skip: true }] },
      "RECIPE",
      /skips all 6 layers/,
    ],
    [
      "a rule without effect",
      { recipe: [{ match: "nope", bits: 8 }] },
      "RECIPE",
      /matches no layer/,
    ],
    ["a typo", { recipe: [{ match: "*", bitz: 8 } as never] }, "RECIPE", /did you mean "bits"/],
    ["unknown bits", { bits: 5 as 4 }, "RECIPE", /2, 3, 4 or 8/],
    ["no such device", { device: "cuda" }, "DEVICE_UNAVAILABLE", /not available/],
    ["threads", { threads: 0 }, "ARGUMENT", /threads/],
    ["fallback", { fallback: "zero" as never }, "ARGUMENT", /"error" or "rtn"/],
    ["no model", { model: "/no/model.onnx" }, "IO", /no such file/],
  ])("%s", async (_name, change, code, message) => {
    const error = await refused(change);
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test("a model without layers, truncated, not ONNX, of a strange opset", async () => {
    await writeModel(model, { nodes: [node("Relu", ["x"], ["y"])], initializers: [] });
    expect((await refused({})).message).toMatch(/nothing to quantize .*no MatMul, Gemm or Conv/);
    const scores = [node("MatMul", ["x", "x"], ["y"], {}, { name: "scores" })];
    await writeModel(model, { nodes: scores, initializers: [] });
    expect((await refused({})).message).toMatch(/none of its 1 .* such as scores/);
    await writeModel(model, { opset: 8 });
    expect(await refused({})).toMatchObject({ code: "FORMAT" });
    await writeModel(model);
    await truncate(model, 900);
    expect(await refused({})).toMatchObject({ code: "FORMAT" });
    await writeFile(model, "hello");
    expect(await refused({})).toMatchObject({ code: "FORMAT" });
  });

  test.each([NaN, Infinity])("a weight that is %p is named with its place", async (value) => {
    const base = jobModel();
    const initializers = base.initializers!.map((old) => {
      if (old.name !== "q.w") return old;
      const data = fakeData(40 * 24);
      data[7 * 24 + 5] = value; // [in, out]
      return tensor("q.w", [40, 24], data);
    });
    await writeModel(model, { initializers });
    const error = await refused({});
    expect(error.code).toBe("NON_FINITE");
    expect(error.message).toMatch(/weight q\.w of layer q is (NaN|Infinity) at output 5, input 7/);
    expect(error.details).toMatchObject({ tensor: "q.w", row: 5, column: 7 });
  });

  test.each([false, true])(
    "an activation that is not finite: layer and batch (sequential %p)",
    async (trueSequential) => {
      const samples = jobSamples();
      samples[4]!["x"]!.data[11] = NaN;
      const error = await caught(quantizeOnnx(options({ calibration: samples, trueSequential })));
      expect(error.code).toBe("NON_FINITE");
      expect(error.message).toMatch(/feed layer stem \(tensor x\) .* batch 4/);
      expect(await readdir(folder)).toEqual(["in"]);
    },
  );

  test("an output that is there, is an input, is a folder, or has no folder", async () => {
    await writeFile(output, "precious");
    expect((await refused({})).message).toMatch(/exists already.*--overwrite/);
    expect(await readFile(output, "utf8")).toBe("precious");
    expect((await refused({ resume: true })).message).toMatch(/exists already/);
    expect((await refused({ output: model, overwrite: true })).message).toMatch(
      /input of this job/,
    );
    expect((await refused({ output: folder })).message).toMatch(/exists already|is a folder/);
    expect((await refused({ output: join(folder, "no", "x.onnx") })).message).toMatch(
      /does not exist/,
    );
    expect(await refused({ output: "/proc/x.onnx" })).toMatchObject({ code: "IO" });
  });

  test("a second run on the same output names the first", async () => {
    await mkdir(`${output}.partial`);
    const lock = await acquireLock(join(`${output}.partial`, "lock"));
    const error = await refused({});
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(String(process.pid));
    await lock.release();
    const [a, b] = await Promise.allSettled([quantizeOnnx(options()), quantizeOnnx(options())]);
    expect([a.status, b.status].sort()).toEqual(["fulfilled", "rejected"]);
    expect((await verifyOnnx({ output })).ok).toBe(true);
  });
});

describe("verify", () => {
  test("notices every changed file and names the layer", async () => {
    await quantizeOnnx(options());
    const bytes = await readFile(output);
    const { graph } = await readOnnx(output);
    const codes = graph.initializer.find(({ name }) => name === "q.w_Q4")!.rawData;
    bytes[bytes.indexOf(Buffer.from(codes)) + 3]! ^= 0x11;
    await writeFile(output, bytes);
    const report = await verifyOnnx({ output, model });
    expect(report.ok).toBe(false);
    expect(report.files[0]).toMatchObject({ ok: false, file: "out.onnx" });
    expect(report.layers.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(["q"]);
    expect(report.problems.join("\n")).toMatch(
      /layer q: its weights .* its error .* its weight error/,
    );
  });

  test("a manifest with other numbers is noticed", async () => {
    await quantizeOnnx(options());
    const path = `${output}.manifest.json`;
    const text = await readFile(path, "utf8");
    const manifest = JSON.parse(text) as {
      layers: { weight_error: number; check: { error: number } }[];
    };
    manifest.layers[0]!.weight_error *= 1.001;
    manifest.layers[2]!.check.error *= 0.5;
    await writeFile(path, JSON.stringify(manifest));
    expect((await verifyOnnx({ output, model })).layers.map(({ ok }) => ok)).toEqual([
      false,
      true,
      false,
      true,
      true,
      true,
    ]);
    await writeFile(path, text);
    await writeModel(join(folder, "other.onnx"), { opset: 12 });
    const report = await verifyOnnx({ output, model: join(folder, "other.onnx") });
    expect(report.problems).toEqual([
      expect.stringMatching(/not the model that the manifest names/),
    ]);
  });

  test("the estimate is near the error that the job measured", async () => {
    await quantizeOnnx(options());
    const { layers } = await verifyOnnx({ output });
    const ratios = layers.map(({ estimate, relativeError }) => estimate! / relativeError!);
    for (const ratio of ratios) {
      expect(ratio).toBeGreaterThan(0.3);
      expect(ratio).toBeLessThan(3);
    }
    const mean = ratios.reduce((a, b) => a + b, 0) / ratios.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.4);
  });
});
