/** `osculate inspect [FILE]`. */
import { promises as fs } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import type { Command } from "commander";
import {
  type DeviceReport,
  type LoadAttempt,
  inspectBinding,
  inspectDevices,
  packageVersion,
} from "../binding/index.js";
import { onnxRuntimeVersion } from "../compress/job-inputs.js";
import { type Plan, planOnnx } from "../compress/plan.js";
import { BindingError } from "../errors.js";
import {
  canonicalDomain,
  dtypeOfCode,
  isExternal,
  ONNX_DTYPES,
  type OnnxModel,
  readOnnx,
  tensorDims,
  tensorsOf,
  type ValueInfoProto,
} from "../formats/onnx/index.js";
import { formatBytes, formatCount } from "../report/format.js";
import { printable, textTable } from "../report/table.js";
import { type CliContext, type CommandContext, print } from "./context.js";
import { EXIT_DEVICE } from "./exit-codes.js";
import { addLayerFlags, type LayerFlags, layerOptions } from "./layer-flags.js";
import { ruleText, treatment } from "./plan.js";
import { shapeText } from "./row-text.js";

interface InspectFlags extends LayerFlags {
  readonly tensors?: boolean;
  readonly json?: boolean;
}

const HELP = `
Without FILE: versions, processor, BLAS, devices and load attempts, one page to paste into a bug report.
With FILE: what is in an ONNX model, and which layers quantize would change under which rule.

Examples:
  $ osculate inspect
  $ osculate inspect model.onnx
  $ osculate inspect model.onnx --recipe recipe.yaml --tensors`;

export function addInspect(program: Command, context: CommandContext): void {
  const command = program
    .command("inspect")
    .description("show what is installed, or what is in a model")
    .argument("[file]", "an .onnx file");
  addLayerFlags(command)
    .option("--tensors", "list every stored tensor")
    .option("--json", "one JSON object on stdout")
    .addHelpText("after", HELP)
    .action(async (file: string | undefined, flags: InspectFlags) => {
      if (file === undefined) inspectInstallation(flags, context);
      else await inspectModel(file, flags, context);
    });
}

/** What the addon says of itself, or why it did not load. */
function bindingFacts(): Record<string, unknown> {
  try {
    const { kernels, attempts, cpuPath, cpuFeatures, blas, threads, tableVersion } =
      inspectBinding();
    const from = attempts.find(({ error }) => error === undefined)?.from;
    return { addon: from, cpuPath, cpuFeatures, blas, threads, tableVersion, kernels, attempts };
  } catch (error) {
    if (!(error instanceof BindingError)) throw error;
    return { addon: undefined, problem: error.message, attempts: error.details["attempts"] };
  }
}

function runtimeFacts(): string {
  try {
    return onnxRuntimeVersion();
  } catch (error) {
    if (!(error instanceof BindingError)) throw error;
    return "not installed (needed to calibrate and to check outputs): npm install onnxruntime-node --ignore-scripts";
  }
}

function deviceText({ device, available, processor, versions, attempts }: DeviceReport): string {
  if (device === "cpu") return `available (${processor ?? ""})`;
  if (available) return `${processor ?? ""} (${versions ?? ""})`;
  return `not available: ${attempts.map(({ error }) => error ?? "").join("; ")}`;
}

/** Which device has no version of which kernel. */
function printHoles(
  devices: readonly DeviceReport[],
  kernels: readonly string[],
  { stdout }: CliContext,
): void {
  const open = devices.filter(({ available }) => available);
  const holes = kernels.filter((kernel) =>
    open.some(({ missingKernels }) => missingKernels.includes(kernel)),
  );
  print(
    stdout,
    `kernels on ${open.map(({ device }) => device).join(", ")}: ` +
      (holes.length === 0 ? `all ${kernels.length}` : `${kernels.length}, with these holes:`),
  );
  if (holes.length === 0) return;
  const columns = [{ title: "kernel" }, ...open.map(({ device }) => ({ title: device }))];
  const cells = holes.map((kernel) => [
    kernel,
    ...open.map(({ missingKernels }) => (missingKernels.includes(kernel) ? "missing" : "yes")),
  ]);
  print(stdout, textTable(columns, cells));
}

function inspectInstallation(flags: InspectFlags, context: CommandContext): void {
  const { stdout } = context;
  const binding = bindingFacts();
  const loaded = binding["addon"] !== undefined;
  const devices = loaded ? inspectDevices() : [];
  const facts = {
    osculate: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: cpus()[0]?.model ?? "unknown",
    processors: availableParallelism(),
    memory: totalmem(),
    onnxruntime: runtimeFacts(),
    devices,
    ...binding,
  };
  if (!loaded) context.exitCode = EXIT_DEVICE;
  if (flags.json === true) {
    print(stdout, JSON.stringify(facts));
    return;
  }
  const text = (value: unknown): string =>
    typeof value === "string" || typeof value === "number"
      ? printable(String(value))
      : "not loaded";
  const kernels = (binding["kernels"] ?? []) as readonly string[];
  const lines: [string, string][] = [
    ["osculate", facts.osculate],
    ["node", facts.node],
    ["platform", facts.platform],
    ["processor", `${facts.processor.trim()}, ${facts.processors} usable`],
    ["memory", formatBytes(facts.memory)],
    ["addon", text(binding["addon"])],
    ["code path", text(binding["cpuPath"])],
    ["features", text(binding["cpuFeatures"])],
    ["BLAS", text(binding["blas"])],
    ["threads", text(binding["threads"])],
    ["kernels", kernels.length === 0 ? "none" : `${kernels.length}: ${kernels.join(", ")}`],
    ["onnxruntime", facts.onnxruntime],
    ...devices.map((report): [string, string] => [`device ${report.device}`, deviceText(report)]),
  ];
  for (const [name, value] of lines) print(stdout, `${name.padEnd(15)} ${value}`);
  if (loaded) printHoles(devices, kernels, context);
  print(stdout, "load attempts:");
  const attempts = [
    ...((binding["attempts"] ?? []) as readonly LoadAttempt[]),
    ...devices.flatMap((report) => report.attempts),
  ];
  for (const { from, error } of attempts)
    print(stdout, printable(`  ${from}: ${error ?? "loaded"}`));
  const problem = binding["problem"];
  if (typeof problem === "string") {
    for (const line of problem.split("\n")) print(stdout, printable(line));
  }
}

interface ModelFacts {
  readonly file: string;
  readonly bytes: number;
  readonly externalBytes: number;
  readonly irVersion: number;
  readonly producer: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ops: Readonly<Record<string, number>>;
  readonly tensors: readonly TensorFacts[];
}

interface TensorFacts {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly bytes: number;
  readonly external: boolean;
}

function valueText({ name, type }: ValueInfoProto): string {
  const tensor = type?.tensorType;
  if (tensor === undefined) return `${name}: not a tensor`;
  const dims = tensor.shape?.dim.map(({ value }) =>
    value.case === "dimParam"
      ? value.value
      : value.case === "dimValue" && value.value > 0n
        ? String(value.value)
        : "?",
  );
  const dtype = dtypeOfCode(tensor.elemType) ?? `type ${tensor.elemType}`;
  return `${name}: ${dtype} [${dims?.join(", ") ?? "any rank"}]`;
}

/** Stored tensors by name: initializers, and the values of Constant nodes under their output's name. */
function tensorFacts(model: OnnxModel): TensorFacts[] {
  const names = new Map<object, string>();
  for (const node of model.graph.node) {
    const value = node.attribute.find(({ name }) => name === "value")?.t;
    if (value !== undefined) names.set(value, node.output[0] ?? "");
  }
  return Array.from(tensorsOf(model.graph), (tensor) => {
    const dtype = dtypeOfCode(tensor.dataType);
    const dims = tensorDims(tensor);
    const bits = dtype === undefined ? 0 : ONNX_DTYPES[dtype].bits;
    return {
      name: names.get(tensor) ?? tensor.name,
      dtype: dtype ?? `type ${tensor.dataType}`,
      dims,
      bytes: Math.ceil((dims.reduce((product, dim) => product * dim, 1) * bits) / 8),
      external: isExternal(tensor),
    };
  });
}

async function modelFacts(file: string): Promise<ModelFacts> {
  const model = await readOnnx(file);
  const { proto, graph } = model;
  const ops: Record<string, number> = {};
  for (const { domain, opType } of graph.node) {
    const name = canonicalDomain(domain) === "" ? opType : `${domain}.${opType}`;
    ops[name] = (ops[name] ?? 0) + 1;
  }
  const stored = new Set(graph.initializer.map(({ name }) => name));
  const tensors = tensorFacts(model);
  return {
    file,
    bytes: (await fs.stat(file)).size,
    externalBytes: tensors.reduce((sum, { bytes, external }) => sum + (external ? bytes : 0), 0),
    irVersion: Number(proto.irVersion),
    producer: `${proto.producerName} ${proto.producerVersion}`.trim(),
    opsets: Object.fromEntries(
      proto.opsetImport.map(({ domain, version }) => [
        canonicalDomain(domain) === "" ? "ai.onnx" : domain,
        Number(version),
      ]),
    ),
    inputs: graph.input.filter(({ name }) => !stored.has(name)).map(valueText),
    outputs: graph.output.map(valueText),
    ops,
    tensors,
  };
}

async function inspectModel(
  file: string,
  flags: InspectFlags,
  context: CommandContext,
): Promise<void> {
  const { stdout } = context;
  const facts = await modelFacts(file);
  const plan = await planOnnx({ ...layerOptions(flags), model: file, measure: false });
  if (flags.json === true) {
    print(stdout, JSON.stringify({ ...facts, plan }));
    return;
  }
  const say = (name: string, value: string): void => {
    print(stdout, `${name.padEnd(10)} ${printable(value)}`);
  };
  const external =
    facts.externalBytes > 0 ? ` and ${formatBytes(facts.externalBytes)} of external data` : "";
  say("file", `${facts.file}, ${formatBytes(facts.bytes)}${external}`);
  const opsets = Object.entries(facts.opsets).map(([domain, version]) => `${domain} ${version}`);
  say(
    "format",
    `ONNX IR ${facts.irVersion}, opset ${opsets.join(", ")}${facts.producer === "" ? "" : `, by ${facts.producer}`}`,
  );
  for (const input of facts.inputs) say("input", input);
  for (const output of facts.outputs) say("output", output);
  const ops = Object.entries(facts.ops).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  say("nodes", `${plan.nodes}: ${ops.map(([name, count]) => `${name} ${count}`).join(", ")}`);
  say("tensors", tensorSummary(facts.tensors));
  print(stdout);
  if (flags.tensors === true) printTensors(facts.tensors, context);
  printLayers(plan, context);
}

function tensorSummary(tensors: readonly TensorFacts[]): string {
  const byType = new Map<string, { count: number; bytes: number }>();
  for (const { dtype, bytes } of tensors) {
    const sum = byType.get(dtype) ?? { count: 0, bytes: 0 };
    byType.set(dtype, { count: sum.count + 1, bytes: sum.bytes + bytes });
  }
  const parts = [...byType]
    .sort(([, a], [, b]) => b.bytes - a.bytes)
    .map(([dtype, { count, bytes }]) => `${count} ${dtype} (${formatBytes(bytes)})`);
  return `${tensors.length}: ${parts.join(", ")}`;
}

function printTensors(tensors: readonly TensorFacts[], { stdout }: CliContext): void {
  const columns = [
    { title: "tensor", maxWidth: 60 },
    { title: "type" },
    { title: "shape" },
    { title: "bytes", align: "right" as const },
    { title: "" },
  ];
  const rows = tensors.map(({ name, dtype, dims, bytes, external }) => [
    name,
    dtype,
    `[${dims.join(", ")}]`,
    formatCount(bytes),
    external ? "external" : "",
  ]);
  print(stdout, textTable(columns, rows));
  print(stdout);
}

function printLayers(plan: Plan, { stdout }: CliContext): void {
  const { rows, totals } = plan;
  if (rows.length === 0) {
    print(stdout, "no MatMul, Gemm or Conv node: there is nothing to quantize");
    return;
  }
  const right = { align: "right" } as const;
  const columns = [
    { title: "layer", maxWidth: 40 },
    { title: "op" },
    { title: "shape" },
    { title: "weights", ...right },
    { title: "rule" },
    { title: "what quantize would do", maxWidth: 60 },
    { title: "before", ...right },
    { title: "after", ...right },
  ];
  const cells = rows.map((row) => [
    row.name,
    row.op,
    shapeText(row),
    formatCount(row.parameters),
    ruleText(row),
    treatment(row),
    formatBytes(row.bytesBefore),
    formatBytes(row.bytesAfter),
  ]);
  print(stdout, textTable(columns, cells));
  print(stdout);
  print(
    stdout,
    `${totals.quantize} layers to quantize, ${totals.keep} kept, ${totals.impossible} impossible as asked; ` +
      `weights ${formatBytes(totals.bytesBefore)} -> ${formatBytes(totals.bytesAfter)}`,
  );
}
