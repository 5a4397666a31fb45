import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { encodeNpz } from "../../lib/formats/index.js";
import { JOB_LAYERS, jobSamples, writeModel } from "../helpers/job-model.js";
import { cli, jsonLines } from "../helpers/run-cli.js";

let folder: string;
let model: string;
let output: string;
let calibration: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "osculate-cli-"));
  model = join(folder, "model.onnx");
  output = join(folder, "q.onnx");
  calibration = join(folder, "data.npz");
  await writeModel(model);
  const [sample] = jobSamples({ batches: 1, size: 32 });
  const { data, dims } = sample!["x"]!;
  const x = {
    dtype: "float32" as const,
    shape: [...dims],
    data: new Float32Array(data as Float32Array),
  };
  await writeFile(calibration, encodeNpz(new Map([["x", x]])));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const quantize = (...more: string[]): string[] => [
  "quantize",
  model,
  "-o",
  output,
  "--group-size",
  "16",
  ...more,
];

describe("inspect", () => {
  test("alone: one page about this installation", async () => {
    const { code, stdout } = await cli(["inspect"]);
    expect(code).toBe(0);
    for (const name of ["osculate", "node", "code path", "BLAS", "device cpu", "load attempts"]) {
      expect(stdout).toMatch(new RegExp(`^${name}`, "m"));
    }
    const { stdout: json } = await cli(["inspect", "--json"]);
    expect(JSON.parse(json)).toMatchObject({
      node: process.version,
      devices: [{ device: "cpu", available: true }, { device: "emulator" }, { device: "cuda" }],
    });
  });

  test("a model: format, tensors, ops, and which rule would do what", async () => {
    const recipe = join(folder, "r.yaml");
    await writeFile(
      recipe,
      "bits: 8\nrules:\n  - { match: { depthwise: true }, skip: true }\n  - { match: head, bits: 4 }\n",
    );
    const { code, stdout } = await cli(["inspect", model, "--recipe", recipe, "--tensors"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/input +x: float32 \[N, 3, 6, 6\]/);
    expect(stdout).toMatch(/nodes +15: MatMul 5, Conv 2,/);
    expect(stdout).toMatch(/hidden\.w +float32 +\[72, 40\] +11,520/);
    expect(stdout).toMatch(/stem\.w +float32/); // the value of a Constant node
    expect(stdout).toMatch(/^dw .* kept: skipped by rules\[0\]/m);
    expect(stdout).toMatch(/^head .*rules\[1\] +gptq 4b/m);
    expect(stdout).toMatch(/^hidden .*– +gptq 8b/m);
    expect(stdout).toMatch(/^scores .* kept: its weight: it is not constant/m);
    const { stdout: json } = await cli(["inspect", model, "--json"]);
    expect(JSON.parse(json)).toMatchObject({ opsets: { "ai.onnx": 11 }, ops: { Gemm: 1 } });
  });

  test("what cannot be exported is a row, not an error", async () => {
    const { code, stdout } = await cli(["inspect", model, "--group-size", "24"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^hidden .*impossible: MatMulNBits/m);
  });
});

test("plan: bytes, operations, seconds and memory of every layer", async () => {
  const { code, stdout } = await cli(["plan", model, "--group-size", "16", "--tokens", "1000"]);
  expect(code).toBe(0);
  for (const name of JOB_LAYERS) expect(stdout).toMatch(new RegExp(`^${name} .* (ms|s) `, "m"));
  expect(stdout).toMatch(/6 layers to quantize, 2 kept/);
  const { stdout: json } = await cli(["plan", model, "--json", "--group-size", "16"]);
  const plan = JSON.parse(json) as { rows: { name: string; flops: number; seconds: number }[] };
  expect(plan.rows.filter(({ seconds }) => seconds > 0).map(({ name }) => name)).toEqual(
    JOB_LAYERS,
  );
  expect(await readdir(folder)).toEqual(["data.npz", "model.onnx"]);
});

describe("quantize and verify", () => {
  test("plain lines in a pipe, one row a layer, a report, and a good verify", async () => {
    const report = join(folder, "report.html");
    const run = await cli(
      quantize("-c", calibration, "--no-sym", "--report", report, "--batch-size", "8"),
    );
    expect([run.code, run.stderr]).toEqual([0, ""]);
    expect(run.stdout).not.toContain("\u001b");
    for (const [i, name] of JOB_LAYERS.entries()) {
      expect(run.stdout).toMatch(new RegExp(`^${i + 1}/6 +${name} `, "m"));
    }
    expect(run.stdout).toContain("calibrated on 4 batches");
    expect(run.stdout).toMatch(/agrees with its dequantized weights/);
    expect(run.stdout).toContain(`wrote ${output}`);
    expect(await readFile(report, "utf8")).toContain("</html>");
    expect((await readdir(folder)).sort()).toEqual([
      "data.npz",
      "model.onnx",
      "q.onnx",
      "q.onnx.manifest.json",
      "report.html",
    ]);

    const good = await cli(["verify", output]);
    expect([good.code, good.stderr]).toEqual([0, ""]);
    expect(good.stdout).toMatch(/all 6 layers and 1 files are as the manifest says/);
    await rm(model);
    expect((await cli(["verify", output])).code).toBe(0); // needs the output alone

    const bytes = await readFile(output);
    bytes[bytes.length - 40]! ^= 1;
    await writeFile(output, bytes);
    const bad = await cli(["verify", output]);
    expect(bad.code).toBe(3);
    expect(bad.stderr).toMatch(/^osculate: q\.onnx: its SHA-256 is /m);
  });

  test("--json: an object a line, the result last", async () => {
    const { code, stdout, stderr } = await cli(quantize("-c", calibration, "--json"));
    expect([code, stderr]).toEqual([0, ""]);
    const lines = jsonLines(stdout);
    expect(lines[0]).toMatchObject({ type: "plan", layers: 6 });
    expect(lines.filter(({ type }) => type === "layer")).toHaveLength(6);
    expect(lines.at(-1)).toMatchObject({ type: "result", output, totals: { layers: 6 } });
    const { stdout: report } = await cli(["verify", output, "--model", model, "--json"]);
    expect(JSON.parse(report)).toMatchObject({ ok: true, problems: [] });
  });

  test("flags override the top of a recipe, not its rules", async () => {
    const recipe = join(folder, "r.json");
    await writeFile(
      recipe,
      JSON.stringify({ bits: 8, method: "rtn", rules: [{ match: "head", bits: 8 }] }),
    );
    const { stdout } = await cli(quantize("--recipe", recipe, "--bits", "4", "--json"));
    const rows = jsonLines(stdout).flatMap(({ type, row }) =>
      type === "layer" ? [row as { name: string; bits: number; method: string }] : [],
    );
    expect(rows.map(({ bits }) => bits)).toEqual([4, 4, 4, 4, 4, 8]);
    expect(new Set(rows.map(({ method }) => method))).toEqual(new Set(["rtn"]));
  });

  test.each<[string, string[], number, RegExp]>([
    ["no data", [], 2, /--calibration FILE\|DIR\|MODULE.*--method rtn/],
    ["no such data", ["-c", "nope.npz"], 3, /could not read the calibration data nope\.npz/],
    ["no such recipe", ["--recipe", "nope.yaml"], 3, /could not read nope\.yaml: no such file/],
    [
      "impossible",
      ["--method", "rtn", "--group-size", "24"],
      3,
      /layer hidden cannot be written this way/,
    ],
    ["no such device", ["--method", "rtn", "--device", "cuda"], 5, /"cuda" is not available/],
    [
      "report in no folder",
      ["--method", "rtn", "--report", "/no/r.html"],
      3,
      /folder \/no does not exist/,
    ],
  ])("%s: one message, nothing written", async (_name, args, code, message) => {
    const run = await cli(quantize(...args));
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(message);
    expect(run.stderr.trim().split("\n")).toHaveLength(1);
    expect(run.stderr).toMatch(/^osculate: /);
    expect((await readdir(folder)).sort()).toEqual(["data.npz", "model.onnx"]);
  });

  test("an existing output is refused, replaced with --overwrite", async () => {
    expect((await cli(quantize("--method", "rtn"))).code).toBe(0);
    const again = await cli(quantize("--method", "rtn", "--json"));
    expect([again.code, again.stderr]).toEqual([
      2,
      expect.stringMatching(/exists already.*--overwrite/),
    ]);
    expect(jsonLines(again.stdout).at(-1)).toMatchObject({ type: "error", code: "ARGUMENT" });
    expect((await cli(quantize("--method", "rtn", "--overwrite"))).code).toBe(0);
  });

  test("an abort ends with 130 and --resume goes on", async () => {
    const controller = new AbortController();
    const onStdout = (text: string): void => {
      if (text.includes('"index":2') && text.includes('"type":"layer"')) controller.abort();
    };
    const run = await cli(quantize("-c", calibration, "--json"), {
      signal: controller.signal,
      onStdout,
    });
    expect(run.code).toBe(130);
    expect(run.stderr).toMatch(/^osculate: .*aborted; 2 finished layers are kept .*--resume/);
    const again = await cli(quantize("-c", calibration, "--resume"));
    expect(again.code).toBe(0);
    expect(again.stdout).toContain("6 layers to quantize, 2 of them done before");
    expect(again.stdout.match(/ resumed /g)).toHaveLength(2);
  });
});

describe("the executable", () => {
  const start = (args: readonly string[]) =>
    spawn(process.execPath, ["--import", "./scripts/ts-node.mjs", "lib/cli/main.ts", ...args], {
      cwd: resolve(__dirname, "../.."),
      env: { ...process.env, TS_NODE_COMPILER_OPTIONS: '{"rootDir":"."}' },
    });

  test("a calibration module runs, SIGINT ends with 130 and leaves no output", async () => {
    const module = join(folder, "calib.mjs");
    await writeFile(
      module,
      `export default async function* () {
        for (let i = 0; ; i += 1) {
          const data = Float32Array.from({ length: 216 }, (_, j) => Math.sin(i + j));
          yield { x: { data, dims: [2, 3, 6, 6] } };
          if (i === 2) console.error("ready");
          await new Promise((done) => setTimeout(done, i < 2 ? 0 : 50));
        }
      }`,
    );
    const child = start(quantize("-c", module));
    let errors = "";
    child.stderr.on("data", (text: Buffer) => {
      if (!errors.includes("ready") && String(text).includes("ready")) child.kill("SIGINT");
      errors += String(text);
    });
    const [code] = (await once(child, "exit")) as [number | null];
    expect(errors).toBe("ready\nosculate: quantizeOnnx: aborted; nothing was written\n");
    expect(code).toBe(130);
    expect((await readdir(folder)).sort()).toEqual(["calib.mjs", "data.npz", "model.onnx"]);
  });
});
