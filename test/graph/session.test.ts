import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { create } from "@bufbuild/protobuf";
import { TensorProtoSchema } from "../../lib/formats/onnx/onnx_pb.js";
import { GraphSession, type Feeds } from "../../lib/graph/session.js";
import { SessionHost } from "../../lib/graph/session-host.js";
import { findOnnxRuntime } from "../../lib/graph/onnxruntime.js";
import { buildModelBytes, fakeData, node, tensor, valueInfo } from "../helpers/onnx-build.js";

const options = { threads: 1 } as const;

/** y = x W, z = relu(y), for x [n, 2]. */
const linear = buildModelBytes({
  nodes: [node("MatMul", ["x", "W"], ["y"]), node("Relu", ["y"], ["z"])],
  initializers: [tensor("W", [2, 3], Float32Array.of(1, 0, -1, 0, 2, -2))],
  inputs: [valueInfo("x", ["n", 2])],
  outputs: [valueInfo("y", ["n", 3]), valueInfo("z", ["n", 3])],
});
const oneRow = (): Feeds => ({ x: { data: Float32Array.of(3, 4), dims: [1, 2] } });

/** A square product that takes a while: x [n, n] times W, several times over. */
function slowModel(n: number, times: number): Uint8Array {
  const names = Array.from({ length: times + 1 }, (_, i) => (i === 0 ? "x" : `t${i}`));
  return buildModelBytes({
    nodes: names.slice(1).map((name, i) => node("MatMul", [names[i]!, "W"], [name])),
    initializers: [tensor("W", [n, n], fakeData(n * n))],
    inputs: [valueInfo("x", [n, n])],
    outputs: [valueInfo(names.at(-1)!, [n, n])],
  });
}

async function withSession<T>(
  model: Uint8Array | string,
  use: (session: GraphSession) => Promise<T>,
): Promise<T> {
  const session = await GraphSession.open(model, options);
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

test("runs a model: all outputs, chosen outputs, in any order", async () => {
  await withSession(linear, async (session) => {
    expect(session.inputs).toEqual([{ name: "x", type: "float32", dims: ["n", 2] }]);
    expect(session.outputNames).toEqual(["y", "z"]);
    const all = await session.run(oneRow());
    expect(Array.from(all["y"]!.data as Float32Array)).toEqual([3, 8, -11]);
    expect(all["z"]).toEqual({ type: "float32", dims: [1, 3], data: Float32Array.of(3, 8, 0) });
    const one = await session.run(oneRow(), { outputs: ["z"] });
    expect(Object.keys(one)).toEqual(["z"]);
    expect(Array.from(one["z"]!.data as Float32Array)).toEqual([3, 8, 0]);
    const answers = await Promise.all([session.run(oneRow()), session.run(oneRow())]);
    expect(answers[1]).toEqual(answers[0]);
  });
});

test("an input that is a part of a larger buffer is fed alone", async () => {
  const big = Float32Array.of(9, 9, 3, 4, 9);
  await withSession(linear, async (session) => {
    const { y } = await session.run({ x: { data: big.subarray(2, 4), dims: [1, 2] } });
    expect(Array.from(y!.data as Float32Array)).toEqual([3, 8, -11]);
    expect(big.length).toBe(5);
  });
});

test("an input in shared memory", async () => {
  const data = new Float32Array(new SharedArrayBuffer(8));
  data.set([3, 4]);
  await withSession(linear, async (session) => {
    const { y } = await session.run({ x: { data, dims: [1, 2] } });
    expect(Array.from(y!.data as Float32Array)).toEqual([3, 8, -11]);
  });
});

test("an empty batch", async () => {
  await withSession(linear, async (session) => {
    const { y } = await session.run({ x: { data: new Float32Array(0), dims: [0, 2] } });
    expect(y).toEqual({ type: "float32", dims: [0, 3], data: new Float32Array(0) });
  });
});

test.each([
  ["float32", Float32Array.of(1, -2)],
  ["float64", Float64Array.of(1, -2)],
  ["float16", Uint16Array.of(0x3c00, 0xc000)],
  ["int64", BigInt64Array.of(1n, -2n)],
  ["int32", Int32Array.of(1, -2)],
  ["int8", Int8Array.of(1, -2)],
  ["uint8", Uint8Array.of(1, 254)],
] as const)("passes %s through unchanged", async (type, data) => {
  const model = buildModelBytes({
    nodes: [node("Identity", ["x"], ["y"])],
    inputs: [valueInfo("x", [2], type)],
    outputs: [valueInfo("y", [2], type)],
  });
  await withSession(model, async (session) => {
    const { y } = await session.run({ x: { data, dims: [2] } });
    expect(y).toEqual({ type, dims: [2], data });
  });
});

test.each<[string, string, Feeds]>([
  ["ARGUMENT", 'expected a tensor for input "x" but received undefined', {}],
  [
    "DTYPE",
    "expected a Float32Array (float32)",
    { x: { data: Int32Array.of(1, 2), dims: [1, 2] } },
  ],
  ["SHAPE", "expected 2 values", { x: { data: Float32Array.of(1), dims: [1, 2] } }],
  ["SHAPE", "expected dims", { x: { data: Float32Array.of(1, 2), dims: [-1, -2] } }],
  ["ARGUMENT", "onnxruntime failed", { x: { data: Float32Array.of(1, 2, 3), dims: [1, 3] } }],
])("bad feeds: %s, %s", async (code, message, feeds) => {
  await withSession(linear, async (session) => {
    const failure = session.run(feeds);
    await expect(failure).rejects.toMatchObject({ code });
    await expect(failure).rejects.toThrow(message);
    // The session survives.
    expect((await session.run(oneRow()))["y"]!.dims).toEqual([1, 3]);
  });
});

test("an output that does not exist", async () => {
  await withSession(linear, async (session) => {
    await expect(session.run(oneRow(), { outputs: ["nope"] })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
  });
});

test.each([
  ["bytes that are not a model", Uint8Array.of(1, 2, 3, 4)],
  [
    "an operator that does not exist",
    buildModelBytes({
      nodes: [node("NoSuchOperator", ["x"], ["y"])],
      inputs: [valueInfo("x", [1])],
      outputs: [valueInfo("y", [1])],
    }),
  ],
  ["a file that is not there", "/nowhere/model.onnx"],
])("onnxruntime refuses %s: FormatError with its reason", async (_, model) => {
  const failure = GraphSession.open(model, options);
  await expect(failure).rejects.toMatchObject({ name: "FormatError", code: "FORMAT" });
  await expect(failure).rejects.toThrow(/onnxruntime refuses the model: .+/);
});

describe("external data", () => {
  let folder: string;
  const external = (): Uint8Array =>
    buildModelBytes({
      nodes: [node("MatMul", ["x", "W"], ["y"])],
      initializers: [
        create(TensorProtoSchema, {
          name: "W",
          dims: [2n, 3n],
          dataType: 1,
          dataLocation: 1,
          externalData: [
            { key: "location", value: "weights.bin" },
            { key: "offset", value: "0" },
            { key: "length", value: "24" },
          ],
        }),
      ],
      inputs: [valueInfo("x", ["n", 2])],
      outputs: [valueInfo("y", ["n", 3])],
    });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "osculate-session-"));
    writeFileSync(join(folder, "weights.bin"), Float32Array.of(1, 0, -1, 0, 2, -2));
    writeFileSync(join(folder, "model.onnx"), external());
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test("is found beside a path", async () => {
    await withSession(join(folder, "model.onnx"), async (session) => {
      const { y } = await session.run(oneRow());
      expect(Array.from(y!.data as Float32Array)).toEqual([3, 8, -11]);
    });
  });

  test("is found in the named folder for bytes", async () => {
    const session = await GraphSession.open(external(), { ...options, externalDataFolder: folder });
    const { y } = await session.run(oneRow());
    await session.close();
    expect(Array.from(y!.data as Float32Array)).toEqual([3, 8, -11]);
  });
});

test("the event loop stays free while a session computes", async () => {
  const n = 512;
  const feeds = { x: { data: fakeData(n * n), dims: [n, n] } };
  await withSession(slowModel(n, 60), async (session) => {
    await session.run(feeds); // first run: allocations
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const start = performance.now();
    await session.run(feeds);
    const took = performance.now() - start;
    delay.disable();
    expect(took).toBeGreaterThan(60); // otherwise the test shows nothing
    // A loop that waits for the run shows one delay as long as the run. The machine may be busy.
    expect(delay.mean / 1e6).toBeLessThan(20);
    expect(delay.max / 1e6).toBeLessThan(took / 2);
  });
});

test("an abort is answered at once and the session goes on", async () => {
  const n = 512;
  const feeds = { x: { data: fakeData(n * n), dims: [n, n] } };
  await withSession(slowModel(n, 60), async (session) => {
    const controller = new AbortController();
    const running = session.run(feeds, { signal: controller.signal });
    const start = performance.now();
    setTimeout(() => {
      controller.abort(new Error("enough"));
    }, 10);
    await expect(running).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
    expect(performance.now() - start).toBeLessThan(100);
    await expect(session.run(feeds, { signal: controller.signal })).rejects.toMatchObject({
      code: "ABORTED",
    });
    expect((await session.run(feeds))["t60"]!.dims).toEqual([n, n]);
  });
});

test("closing: waiting calls are answered, later ones refused, twice is once", async () => {
  const session = await GraphSession.open(linear, options);
  const waiting = session.run(oneRow());
  await session.close();
  expect((await waiting)["y"]!.dims).toEqual([1, 3]);
  await expect(session.run(oneRow())).rejects.toMatchObject({ code: "DISPOSED" });
  await session.close();
});

test("sessions that share a host live and end apart", async () => {
  const host = SessionHost.start();
  const [a, b] = await Promise.all([
    GraphSession.open(linear, { ...options, host }),
    GraphSession.open(linear, { ...options, host }),
  ]);
  await a.close();
  await expect(a.run(oneRow())).rejects.toMatchObject({ code: "DISPOSED" });
  expect((await b.run(oneRow()))["y"]!.dims).toEqual([1, 3]);
  await host.close();
  await expect(b.run(oneRow())).rejects.toMatchObject({ code: "DISPOSED" });
  await b.close();
});

describe("a runtime that misbehaves", () => {
  let folder: string;
  const fake = (name: string, source: string): SessionHost => {
    const runtime = join(folder, `${name}.cjs`);
    writeFileSync(runtime, source);
    return SessionHost.start({ runtime });
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "osculate-runtime-"));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test("a process that exits rejects what waits and what follows", async () => {
    const host = fake(
      "exits",
      `exports.InferenceSession = { create: () => { console.error("last words"); process.exit(7); } };`,
    );
    const both = [GraphSession.open(linear, { host }), GraphSession.open(linear, { host })];
    for (const open of both) {
      await expect(open).rejects.toThrow(
        "the onnxruntime process ended with exit code 7: last words",
      );
    }
    await expect(GraphSession.open(linear, { host })).rejects.toMatchObject({ code: "INTERNAL" });
    await host.close();
  });

  test("an error nobody caught there rejects too", async () => {
    const host = fake(
      "throws",
      `exports.InferenceSession = { create: () => new Promise(() => setImmediate(() => { throw new Error("boom"); })) };`,
    );
    await expect(GraphSession.open(linear, { host })).rejects.toThrow(
      /the onnxruntime process ended with exit code 1: [^]*boom/,
    );
    await host.close();
  });

  test("a package that does not load is a BindingError", async () => {
    const host = fake("broken", `throw new Error("libonnxruntime.so.1: cannot open");`);
    await expect(GraphSession.open(linear, { host })).rejects.toMatchObject({ code: "BINDING" });
    await host.close();
  });

  test("a process that the system kills", async () => {
    const host = fake("killed", `process.kill(process.pid, "SIGKILL");`);
    await expect(GraphSession.open(linear, { host })).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
    });
    await host.close();
  });

  test("memory that runs out is a DeviceError", async () => {
    const host = fake(
      "oom",
      `exports.InferenceSession = { create: () => { throw new Error("std::bad_alloc"); } };`,
    );
    await expect(GraphSession.open(linear, { host })).rejects.toMatchObject({
      name: "DeviceError",
      code: "OUT_OF_MEMORY",
    });
    await host.close();
  });
});

test("a missing package names the command that installs it", () => {
  expect(() => findOnnxRuntime("GraphSession.open", "no-such-package-at-all")).toThrow(
    /npm install no-such-package-at-all@1\.30 --ignore-scripts[\s\S]*ONNXRUNTIME_NODE_INSTALL=skip/,
  );
});

// In a process of its own: without care the whole of it would be aborted by onnxruntime's addon.
test("terminating the thread of a session, and exiting, while it computes", () => {
  const folder = mkdtempSync(join(tmpdir(), "osculate-terminate-"));
  writeFileSync(join(folder, "slow.onnx"), slowModel(512, 400));
  const script = join(folder, "main.mjs");
  const session = join(process.cwd(), "lib/graph/session.js");
  writeFileSync(
    script,
    `import { isMainThread, parentPort, Worker } from "node:worker_threads";
     import { GraphSession } from ${JSON.stringify(session)};
     const open = () => GraphSession.open(${JSON.stringify(join(folder, "slow.onnx"))}, { threads: 1 });
     const x = () => ({ x: { data: new Float32Array(512 * 512), dims: [512, 512] } });
     if (isMainThread) {
       const worker = new Worker(new URL(import.meta.url));
       await new Promise((resolve) => worker.once("message", resolve));
       console.log("terminated", await worker.terminate());
       void (await open()).run(x());
       setTimeout(() => { console.log("exits"); process.exit(5); }, 50);
     } else {
       void (await open()).run(x());
       setTimeout(() => parentPort.postMessage("computes"), 50);
     }`,
  );
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", "./scripts/ts-node.mjs", script],
    { encoding: "utf8", env: { ...process.env, TS_NODE_COMPILER_OPTIONS: '{"rootDir":"."}' } },
  );
  rmSync(folder, { recursive: true });
  expect({ status, stdout, stderr }).toEqual({
    status: 5,
    stdout: "terminated 1\nexits\n",
    stderr: "",
  });
});
