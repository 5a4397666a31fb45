/**
 * The demo's calibration data as a calibration module: 64 drawn lines, one a batch, so that each keeps
 * its own width. Usable as it is with `--calibration examples/ocr/calibration.ts` where node can run
 * TypeScript (`node --import ./scripts/ts-node.mjs`).
 */
import { calibrationLines, MODEL_INPUT } from "./dataset.js";
import { LINE_HEIGHT } from "./render.js";

/** One batch: input name to values. */
type Batch = Record<string, { data: Float32Array; dims: [number, number, number, number] }>;

export default async function* calibration(): AsyncGenerator<Batch> {
  for await (const line of calibrationLines()) {
    yield { [MODEL_INPUT]: { data: line.data, dims: [1, 3, LINE_HEIGHT, line.width] } };
  }
}
