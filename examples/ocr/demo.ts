/**
 * The demo: a real OCR model, quantized to 4 bits by plain rounding and by GPTQ, reads Moby Dick.
 *
 *     npm run demo
 *
 * Progress goes to stderr; the recipe, the table, some readings and, last, one JSON line go to stdout.
 * The two GPTQ models, their manifests and the report are in `demo-out/` afterwards.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { reportData } from "../../lib/cli/report-data.js";
import { quantizeOnnx } from "../../lib/compress/job.js";
import type { JobEvent, QuantizeOnnxResult } from "../../lib/compress/job-types.js";
import { writeWhole } from "../../lib/io/index.js";
import { formatBytes, formatSeconds } from "../../lib/report/format.js";
import { quantizeReport } from "../../lib/report/quantize-report.js";
import { textTable } from "../../lib/report/table.js";
import calibration from "./calibration.js";
import {
  CALIBRATION_LINES,
  EVALUATION_LINES,
  evaluationLines,
  RECOGNIZER,
  recognizerAlphabet,
} from "./dataset.js";
import { evaluate, type LineReadings } from "./evaluate.js";
import type { Score } from "./metrics.js";
import { LAYERS, type LayerChoice } from "./recipes.js";
import { READING_STYLE, readingSection, type SheetModel } from "./sheet.js";

const OUT = resolve("demo-out");
const SHOWN_LINES = 12;

/** Rows of the table, in order; the keys are those of the JSON line. */
const MODELS = [
  { key: "fp32", title: "float32", shown: true },
  { key: "rtn4_matmul", title: "RTN 4 bit, MatMul", shown: false },
  { key: "gptq4_matmul", title: "GPTQ 4 bit, MatMul", shown: false },
  { key: "rtn4_all", title: "RTN 4 bit, all", shown: true },
  { key: "gptq4_all", title: "GPTQ 4 bit, all", shown: true },
] as const satisfies readonly SheetModel[];

type ModelKey = (typeof MODELS)[number]["key"];
/** The models that are made: which layers and how. RTN ones are only scored. */
const QUANTIZED = [
  { key: "rtn4_matmul", layers: "matmul", method: "rtn" },
  { key: "gptq4_matmul", layers: "matmul", method: "gptq" },
  { key: "rtn4_all", layers: "all", method: "rtn" },
  { key: "gptq4_all", layers: "all", method: "gptq" },
] as const satisfies readonly { key: ModelKey; layers: LayerChoice; method: "rtn" | "gptq" }[];

const started = performance.now();

/** One line of progress, with the seconds since the start. */
function say(message: string): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
  process.stderr.write(`[${seconds} s] ${message}\n`);
}

function sayEvent(key: string): (event: JobEvent) => void {
  return (event) => {
    if (event.type === "warning") say(`${key}: ${event.message}`);
    if (event.type === "calibration" && event.done) say(`${key}: ${event.batches} lines captured`);
    if (event.type === "layer" && (event.index % 10 === 0 || event.index === event.total)) {
      say(`${key}: ${event.index} of ${event.total} layers`);
    }
  };
}

/** Quantizes all four; RTN models go to `scratch`, since they are no result. */
async function quantizeAll(scratch: string): Promise<Record<string, QuantizeOnnxResult>> {
  const results: Record<string, QuantizeOnnxResult> = {};
  for (const { key, layers, method } of QUANTIZED) {
    say(`${key}: quantizing`);
    results[key] = await quantizeOnnx({
      model: RECOGNIZER,
      output: join(method === "gptq" ? OUT : scratch, `${key}.onnx`),
      recipe: LAYERS[layers],
      method,
      // Rounding needs no data; without it this is a matter of milliseconds.
      ...(method === "gptq" ? { calibration } : {}),
      report: "full",
      overwrite: true,
      onEvent: sayEvent(key),
    });
  }
  return results;
}

function printTable(
  scores: Readonly<Record<string, Score>>,
  results: Readonly<Record<string, QuantizeOnnxResult>>,
  bytes: number,
): void {
  const rows = MODELS.map(({ key, title }) => {
    const score = scores[key]!;
    return [
      title,
      formatBytes(results[key]?.totals.bytesAfter ?? bytes),
      `${(100 * score.cer).toFixed(2)} %`,
      `${score.exact}/${EVALUATION_LINES}`,
      score.ctc.toFixed(2),
      score.kl.toFixed(4),
    ];
  });
  const right = "right" as const;
  print(
    textTable(
      [
        { title: "model" },
        { title: "size", align: right },
        { title: "CER", align: right },
        { title: "exact lines", align: right },
        { title: "CTC/line", align: right },
        { title: "KL/step", align: right },
      ],
      rows,
    ),
  );
}

/** The first lines that plain rounding of all layers misreads. */
function printExamples(lines: readonly LineReadings[]): void {
  const kept = lines.filter(({ image, readings }) => readings["rtn4_all"] !== image.text);
  for (const { image, readings } of kept.slice(0, 4)) {
    print(`truth           ${image.text}`);
    for (const key of ["fp32", "rtn4_all", "gptq4_all"] as const) {
      print(`${key.padEnd(16)}${readings[key] ?? ""}`);
    }
    print("");
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function jsonLine(scores: Readonly<Record<string, Score>>): string {
  return JSON.stringify({
    demo: "ocr",
    lines: EVALUATION_LINES,
    ...Object.fromEntries(MODELS.map(({ key }) => [key, scores[key]])),
  });
}

async function main(): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), "osculate-demo-"));
  try {
    await mkdir(OUT, { recursive: true });
    const results = await quantizeAll(scratch);
    const first: LineReadings[] = [];
    say(`reading ${EVALUATION_LINES} lines with ${MODELS.length} models`);
    const scores = await evaluate(
      MODELS.map(({ key }) => ({ name: key, path: results[key]?.output ?? RECOGNIZER })),
      evaluationLines(),
      {
        alphabet: await recognizerAlphabet(),
        onLine: (line, index) => {
          if (first.length < 40) first.push(line);
          if ((index + 1) % 50 === 0) say(`${index + 1} of ${EVALUATION_LINES} lines`);
        },
      },
    );
    const best = results["gptq4_all"]!;
    const report = join(OUT, "report.html");
    const data = reportData(best, basename(RECOGNIZER));
    await writeWhole(
      report,
      quantizeReport(
        { ...data, output: relative(process.cwd(), best.output) },
        {
          sections: [readingSection(MODELS, scores, first.slice(0, SHOWN_LINES), EVALUATION_LINES)],
          style: READING_STYLE,
        },
      ),
    );

    print(
      `Calibrated on ${CALIBRATION_LINES} lines, scored on ${EVALUATION_LINES} others. Recipe:\n`,
    );
    print(best.recipe);
    print("RTN is the same with method: rtn; MatMul only skips every Conv instead.\n");
    printTable(scores, results, best.totals.bytesBefore);
    print("");
    printExamples(first);
    for (const file of [
      "gptq4_matmul.onnx",
      "gptq4_all.onnx",
      "gptq4_all.onnx.manifest.json",
      "report.html",
    ]) {
      print(`wrote ${relative(process.cwd(), join(OUT, file))}`);
    }
    say(`done in ${formatSeconds((performance.now() - started) / 1000)}`);
    print(jsonLine(scores));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

await main();
