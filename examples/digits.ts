/**
 * Handwritten digits, and four optimizers with an equal tuning budget.
 *
 *   npm run example -- digits [--epochs 2] [--seeds 3]
 *
 * A network 784-128-10 with tanh is trained on 8,000 digits of MNIST. Each optimizer gets five learning rates on a grid, is
 * judged on 1,000 validation digits, and its best rate is then run with other seeds and tested on 1,000 more. A step of
 * AdaHessian and of Sophia costs one product with the Hessian more than a gradient (Sophia: every tenth step), so the
 * curves are drawn against seconds too.
 */
import { parseArgs } from "node:util";
import { reshape } from "../lib/autodiff/index.js";
import { mnistDigits, splitImages } from "../lib/data/index.js";
import { MLP } from "../lib/models/index.js";
import { InitialValues } from "../lib/nn/index.js";
import { AdaHessian, AdamW, SGD, Sophia } from "../lib/optim/index.js";
import { scope, type Tensor } from "../lib/tensor/index.js";
import { imageTask, percent } from "./tournament/images.js";
import { report } from "./tournament/report.js";
import { tournament, type Contender } from "./tournament/tournament.js";

const { values: flags } = parseArgs({
  options: { epochs: { type: "string", default: "2" }, seeds: { type: "string", default: "3" } },
});
const epochs = Number(flags.epochs);
const seeds = Number(flags.seeds);
const batchSize = 64;

/** An MLP over pictures. */
class Network extends MLP {
  override forward(images: Tensor): Tensor {
    return scope(() => super.forward(reshape(images, [-1, 784])));
  }
}

const contenders: readonly Contender[] = [
  {
    name: "SGD, momentum 0.9",
    rates: [0.003, 0.01, 0.03, 0.1, 0.3],
    make: (params, lr) => new SGD(params, { lr }),
  },
  {
    name: "AdamW",
    rates: [0.0003, 0.001, 0.003, 0.01, 0.03],
    make: (params, lr) => new AdamW(params, { lr, weightDecay: 0 }),
  },
  {
    name: "AdaHessian",
    rates: [0.01, 0.03, 0.1, 0.3, 1],
    make: (params, lr, seed) => new AdaHessian(params, { lr, seed, eps: 1e-3 }),
  },
  {
    name: "Sophia-H",
    rates: [0.0003, 0.001, 0.003, 0.01, 0.03],
    make: (params, lr, seed) =>
      new Sophia(params, { lr, seed, weightDecay: 0, curvature: "hutchinson", rho: 0.1 }),
  },
];

const { train: rest, test } = splitImages(await mnistDigits(), { test: 1000, seed: 1 });
const { train, test: validation } = splitImages(rest, { test: 1000, seed: 2 });
const text = `A network 784-128-10 with tanh on ${train.count} handwritten digits, ${epochs} epochs of batches of ${batchSize}. Each optimizer at the best of five learning rates; ${seeds} seeds.`;
console.log(text);
const model = (seed: number) =>
  new Network([784, 128, 10], { activation: "tanh", initial: new InitialValues(seed) });
const task = imageTask({ model, train, validation, test, batchSize, epochs, seeds });
report(await tournament(task, contenders), {
  name: "digits",
  title: "Digits: four optimizers",
  text,
  figures: [
    ["accuracy", "test accuracy", percent],
    ["loss", "test loss", (x) => x.toFixed(4)],
  ],
  baseline: "AdamW",
});
