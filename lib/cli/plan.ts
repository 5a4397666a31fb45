/** `osculate plan MODEL`. */
import type { Command } from "commander";
import { type Plan, planOnnx, type PlanRow } from "../compress/plan.js";
import { formatBytes, formatCount, formatRatio, formatSeconds, MISSING } from "../report/format.js";
import { printable, textTable } from "../report/table.js";
import { type CliContext, type CommandContext, print } from "./context.js";
import { addLayerFlags, integer, type LayerFlags, layerOptions } from "./layer-flags.js";
import { groupText, shapeText } from "./row-text.js";

interface PlanFlags extends LayerFlags {
  readonly tokens?: number;
  readonly json?: boolean;
}

const HELP = `
Reads only the model and the recipe; measures this machine for a moment to turn operations into seconds.
Seconds are for quantizing and for Gram matrices of --tokens rows of activations a layer (of a
convolution: output positions); running the network on the calibration data is not in them.

Examples:
  $ osculate plan model.onnx --group-size 32
  $ osculate plan model.onnx --recipe recipe.yaml --tokens 100000 --json`;

export function addPlan(program: Command, context: CommandContext): void {
  const command = program
    .command("plan")
    .description("bytes, operations and seconds per layer, before any work")
    .argument("<model>", "the .onnx file");
  addLayerFlags(command)
    .option("--tokens <n>", "calibration tokens per layer (default: 8192)", integer(1))
    .option("--json", "one JSON object on stdout")
    .addHelpText("after", HELP)
    .action(async (model: string, flags: PlanFlags) => {
      const plan = await planOnnx({ ...layerOptions(flags), model, tokens: flags.tokens });
      if (flags.json === true) print(context.stdout, JSON.stringify(plan));
      else printPlan(plan, context);
    });
}

/** `1.23e9` operations as `1.2 G`. */
export function formatFlops(flops: number): string {
  const units = ["", " k", " M", " G", " T", " P"];
  let value = flops;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? String(Math.round(value)) : value.toPrecision(3)}${units[unit] ?? ""}`;
}

/** What happens to a layer, in a few words. */
export function treatment(row: PlanRow): string {
  if (row.status === "impossible") return `impossible: ${row.reason ?? ""}`;
  if (row.status === "keep") return `kept: ${row.reason ?? ""}`;
  return `${row.method} ${row.bits}b g${groupText(row.groupSize)} ${row.sym ? "sym" : "asym"}`;
}

/** Which rule decided, as messages about recipes name it. */
export function ruleText(row: PlanRow): string {
  return row.rule === undefined ? MISSING : `rules[${row.rule}]`;
}

function cells(row: PlanRow): string[] {
  const works = row.status === "quantize";
  return [
    row.name,
    row.op,
    shapeText(row),
    ruleText(row),
    treatment(row),
    formatBytes(row.bytesBefore),
    formatBytes(row.bytesAfter),
    works ? formatFlops(row.flops + row.gramFlops) : "",
    works ? formatSeconds(row.seconds) : "",
    works ? formatBytes(row.memoryBytes) : "",
  ];
}

function printPlan(plan: Plan, { stdout }: CliContext): void {
  const right = { align: "right" } as const;
  const columns = [
    { title: "layer", maxWidth: 36 },
    { title: "op" },
    { title: "shape" },
    { title: "rule" },
    { title: "what", maxWidth: 40 },
    { title: "before", ...right },
    { title: "after", ...right },
    { title: "operations", ...right },
    { title: "time", ...right },
    { title: "memory", ...right },
  ];
  print(stdout, textTable(columns, plan.rows.map(cells)));
  const { totals, peak } = plan;
  print(stdout);
  print(
    stdout,
    `${totals.quantize} layers to quantize, ${totals.keep} kept, ${totals.impossible} impossible as asked; ` +
      `${formatCount(totals.quantizedParameters)} of ${formatCount(totals.parameters)} weights`,
  );
  print(
    stdout,
    `weights ${formatBytes(totals.bytesBefore)} -> ${formatBytes(totals.bytesAfter)} (${formatRatio(totals.bytesBefore / totals.bytesAfter)} smaller), ` +
      `memory up to ${formatBytes(totals.memoryBytes)} beside the model`,
  );
  if (peak !== undefined) {
    print(
      stdout,
      `about ${formatSeconds(totals.seconds)} for ${formatFlops(totals.flops)} operations, with ${formatCount(plan.tokens)} tokens a layer ` +
        `(measured now: Gram ${formatFlops(peak.gramFlops)}/s, GPTQ ${formatFlops(peak.quantizeFlops)}/s); calibration runs of the network come on top`,
    );
  }
  const impossible = plan.rows.filter(({ status }) => status === "impossible");
  for (const row of impossible) {
    print(stdout, `impossible: ${printable(row.name)}: ${printable(row.reason ?? "")}`);
  }
}
