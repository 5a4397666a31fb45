/** `osculate verify OUT`. */
import type { Command } from "commander";
import { type VerifiedLayer, type VerifyReport, verifyOnnx } from "../compress/verify.js";
import { formatError } from "../report/format.js";
import { printable, textTable } from "../report/table.js";
import { type CliContext, type CommandContext, print } from "./context.js";
import { EXIT_DONE, EXIT_INPUT } from "./exit-codes.js";

interface VerifyFlags {
  readonly model?: string;
  readonly json?: boolean;
}

const HELP = `
Reads OUT, OUT.data and OUT.manifest.json, and nothing else, and checks
  - the SHA-256 of every file;
  - that each layer's dequantized weights are, bit for bit, those that were written;
  - each layer's error, computed again from the weights in the file and a sketch in the manifest:
    an estimate from 4 random probes, weighted by the calibration data, that must come out as in the
    manifest ("estimate"; the exact error of the job stands beside it, most often within 20 %).
With --model ORIGINAL the exact error of the weights is computed again too.

Examples:
  $ osculate verify model.q4.onnx
  $ osculate verify model.q4.onnx --model model.onnx --json

Exit code 0 when all is as the manifest says, else 3.`;

export function addVerify(program: Command, context: CommandContext): void {
  program
    .command("verify")
    .description("check a written model against its manifest")
    .argument("<out>", "the .onnx file that quantize wrote")
    .option("--model <file>", "the original model, to compute weight errors exactly")
    .option("--json", "one JSON object on stdout")
    .addHelpText("after", HELP)
    .action(async (output: string, flags: VerifyFlags) => {
      const { signal } = context;
      const report = await verifyOnnx({ output, model: flags.model, signal });
      if (flags.json === true) print(context.stdout, JSON.stringify(report));
      else printReport(report, context);
      context.exitCode = report.ok ? EXIT_DONE : EXIT_INPUT;
    });
}

function layerCells(layer: VerifiedLayer): string[] {
  return [
    layer.ok ? "ok" : "BAD",
    layer.name,
    layer.op,
    `${layer.method} ${layer.bits}b`,
    formatError(layer.relativeError),
    formatError(layer.estimate),
    formatError(layer.manifestEstimate),
    layer.kind === "weights" ? "weights only" : "",
    formatError(layer.weightError ?? layer.manifestWeightError),
  ];
}

function printReport(report: VerifyReport, { stdout, stderr }: CliContext): void {
  for (const { file, ok, sha256 } of report.files) {
    print(stdout, `${ok ? "ok " : "BAD"}  ${printable(file)}  ${sha256 ?? ""}`.trimEnd());
  }
  if (report.layers.length > 0) {
    const right = { align: "right" } as const;
    const columns = [
      { title: "" },
      { title: "layer", maxWidth: 40 },
      { title: "op" },
      { title: "how" },
      { title: "error", ...right },
      { title: "estimate", ...right },
      { title: "in manifest", ...right },
      { title: "" },
      { title: "weight error", ...right },
    ];
    print(stdout, textTable(columns, report.layers.map(layerCells)));
  }
  if (report.ok) {
    print(
      stdout,
      `${report.output}: all ${report.layers.length} layers and ${report.files.length} files are as the manifest says`,
    );
    return;
  }
  for (const problem of report.problems) print(stderr, `osculate: ${printable(problem)}`);
}
