/**
 * Articles of clothing, and optimizers of first and second order with an equal tuning budget on a convolutional network.
 *
 *   npm run example -- fashion-mnist [--images 4000] [--epochs 2] [--seeds 3] [--full]
 *
 * A residual network of three stages (8, 16 and 32 channels, one block each; He et al. 2016) is trained on a part of
 * Fashion-MNIST; --full takes all 60,000 pictures. Each optimizer gets three learning rates on a grid, is judged on
 * 1,000 validation pictures, and its best rate is run with other seeds and tested on 2,000 of the test pictures.
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { fashionMnist, splitImages } from "../lib/data/index.js";
import { cnn } from "../lib/models/index.js";
import { InitialValues } from "../lib/nn/index.js";
import { imageContenders } from "./tournament/contenders.js";
import { imageTask, percent } from "./tournament/images.js";
import { report } from "./tournament/report.js";
import { tournament } from "./tournament/tournament.js";

const { values: flags } = parseArgs({
  options: {
    images: { type: "string", default: "4000" },
    epochs: { type: "string", default: "2" },
    seeds: { type: "string", default: "3" },
    full: { type: "boolean", default: false },
  },
});
const epochs = Number(flags.epochs);
const seeds = Number(flags.seeds);
const batchSize = 64;

execFileSync("bash", ["scripts/setup-fashion-mnist.sh"], { stdio: "inherit" });
const data = await fashionMnist();
const { train: rest, test: validation } = splitImages(data.train, { test: 1000, seed: 1 });
const train = flags.full ? rest : splitImages(rest, { test: Number(flags.images), seed: 2 }).test;
const test = flags.full ? data.test : splitImages(data.test, { test: 2000, seed: 3 }).test;
const text = `A residual network of 8, 16 and 32 channels on ${train.count} of 60,000 pictures of clothes, ${epochs} epochs of batches of ${batchSize}; ${test.count} test pictures. Each optimizer at the best of three learning rates; ${seeds} seeds.`;
console.log(text);
const model = (seed: number) =>
  cnn({ channels: 1, width: 8, blocks: 1, initial: new InitialValues(seed) });
const task = imageTask({ model, train, validation, test, batchSize, epochs, seeds });
report(await tournament(task, imageContenders), {
  name: "fashion-mnist",
  title: "Fashion-MNIST: optimizers on a convolutional network",
  text,
  figures: [
    ["accuracy", "test accuracy", percent],
    ["loss", "test loss", (x) => x.toFixed(4)],
  ],
  baseline: "AdamW",
});
