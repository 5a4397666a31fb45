/** `osculate quantize MODEL -o OUT`. */
import { basename } from "node:path";
import { type Command, Option } from "commander";
import { quantizeOnnx } from "../compress/job.js";
import { prepare } from "../compress/job-prepare.js";
import type { QuantizeOnnxOptions, QuantizeOnnxResult } from "../compress/job-types.js";
import { checkWritable, writeWhole } from "../io/index.js";
import { formatBytes, formatRatio, formatSeconds } from "../report/format.js";
import { quantizeReport } from "../report/quantize-report.js";
import { type CliContext, type CommandContext, print } from "./context.js";
import { addLayerFlags, integer, type LayerFlags, layerOptions } from "./layer-flags.js";
import { jsonView, textView } from "./progress.js";
import { reportData } from "./report-data.js";

interface QuantizeFlags extends LayerFlags {
  readonly output: string;
  readonly calibration?: string;
  readonly batchSize?: number;
  readonly strict?: boolean;
  readonly fallback?: "rtn" | "error";
  readonly errorRows?: "full" | "sampled" | "none";
  readonly overwrite?: boolean;
  readonly resume?: boolean;
  readonly device?: "cpu" | "emulator" | "cuda";
  readonly threads?: number;
  readonly json?: boolean;
  readonly report?: string;
}

const HELP = `
Examples:
  Round to 4 bits, no data needed:
    $ osculate quantize model.onnx -o model.q4.onnx --method rtn --group-size 32

  GPTQ on your own data, with an HTML report:
    $ osculate quantize model.onnx -o model.q4.onnx --group-size 32 --calibration calib.mjs --report report.html

  calib.mjs gives what the model is fed, batch by batch (it is your code and runs as such):
    export default async function* () {
      yield { input: { data: new Float32Array(3 * 48 * 320), dims: [1, 3, 48, 320] } };
    }
  A .npz or .safetensors file with one array per input, or a folder of these, does as well.

  Another treatment for some layers (--recipe recipe.yaml); the first rule that matches decides:
    bits: 4
    group_size: 32
    rules:
      - { match: { depthwise: true }, skip: true }
      - { match: "op:Conv", bits: 8 }
      - { match: "*head*", group_size: 16, sym: false }

  Go on after a crash or Ctrl-C; the output is the same, byte for byte:
    $ osculate quantize model.onnx -o model.q4.onnx --calibration calib.mjs --resume

Written: OUT, OUT.manifest.json (hashes, recipe, errors per layer), OUT.data (only for models with
external data or beyond 2 GiB). During the work OUT.partial/ holds finished layers; success removes it.
Exit codes: 0 done, 2 usage, 3 bad input, 4 numerical, 5 device or memory, 130 aborted.`;

export function addQuantize(program: Command, context: CommandContext): void {
  const command = program
    .command("quantize")
    .description("quantize the MatMul, Gemm and Conv weights of an ONNX model")
    .argument("<model>", "the .onnx file")
    .requiredOption("-o, --output <file>", "the .onnx file to write")
    .option(
      "-c, --calibration <path>",
      ".npz or .safetensors file, folder of these, or JavaScript module",
    );
  addLayerFlags(command)
    .option("--batch-size <n>", "samples per batch, for calibration files", integer(1))
    .option("--strict", "fail instead of raising the damping of a layer")
    .addOption(
      new Option("--fallback <what>", "for a layer that no damping helps (default: error)").choices(
        ["rtn", "error"],
      ),
    )
    .addOption(
      new Option(
        "--error-rows <which>",
        "rows that errors are computed from (default: sampled)",
      ).choices(["full", "sampled", "none"]),
    )
    .option("--overwrite", "replace an existing output, forget an interrupted run")
    .option("--resume", "go on with an interrupted run, if there is one")
    .addOption(
      new Option("--device <name>", "where layers are computed (default: cpu)").choices([
        "cpu",
        "emulator",
        "cuda",
      ]),
    )
    .option("--threads <n>", "threads of onnxruntime (default: all processors)", integer(1, 1024))
    .option("--report <file>", "write an HTML report as well")
    .option("--json", "one JSON object a line on stdout: events, then the result")
    .addHelpText("after", HELP)
    .action(async (model: string, flags: QuantizeFlags) => {
      await runQuantize(model, flags, context);
    });
}

async function runQuantize(
  model: string,
  flags: QuantizeFlags,
  context: CommandContext,
): Promise<void> {
  const { calibration, batchSize, strict, fallback, overwrite, resume, device, threads } = flags;
  const options: QuantizeOnnxOptions = {
    ...layerOptions(flags),
    model,
    output: flags.output,
    calibration,
    batchSize,
    strict,
    fallback,
    overwrite,
    resume,
    device,
    threads,
    report: flags.errorRows,
    signal: context.signal,
  };
  if (flags.report !== undefined) await checkWritable("report", flags.report);
  const json = flags.json === true;
  const names = json ? [] : await layerNames(options);
  const view = json ? jsonView(context) : textView(context, names);
  let result: QuantizeOnnxResult;
  try {
    result = await quantizeOnnx({
      ...options,
      onEvent: (event) => {
        view.onEvent(event);
      },
    });
  } finally {
    view.stop();
  }
  if (flags.report !== undefined) {
    await writeWhole(flags.report, quantizeReport(reportData(result, basename(model))));
  }
  if (json)
    print(context.stdout, JSON.stringify({ type: "result", ...result, report: flags.report }));
  else printResult(result, flags, context);
}

async function layerNames(options: QuantizeOnnxOptions): Promise<string[]> {
  const { chosen } = await prepare(options);
  return chosen.map(({ layer }) => layer.name);
}

function printResult(
  { output, data, manifest, totals }: QuantizeOnnxResult,
  flags: QuantizeFlags,
  { stdout }: CliContext,
): void {
  const { bytesBefore, bytesAfter, seconds, quantizedParameters, parameters } = totals;
  const share = parameters === 0 ? 0 : (100 * quantizedParameters) / parameters;
  print(
    stdout,
    `${totals.layers} layers, ${share.toFixed(1)} % of the weights in layers; ` +
      `${formatBytes(bytesBefore)} -> ${formatBytes(bytesAfter)} (${formatRatio(bytesBefore / bytesAfter)} smaller) in ${formatSeconds(seconds)}`,
  );
  print(stdout, `wrote ${output}`);
  if (data !== undefined) print(stdout, `      ${data}`);
  print(stdout, `      ${manifest}`);
  if (flags.report !== undefined) print(stdout, `      ${flags.report}`);
  print(stdout, `check it any time: osculate verify ${flags.output}`);
}
