import { crossEntropy } from "../../lib/autodiff/index.js";
import { type Device } from "../../lib/binding/index.js";
import { cnn, mlp, transformerLM } from "../../lib/models/index.js";
import { InitialValues, type Module, type ParameterOptions } from "../../lib/nn/index.js";
import {
  AdaHessian,
  AdamW,
  type LossFunction,
  type Parameter,
  SGD,
  Sophia,
} from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { settledMemory } from "../helpers/live-memory.js";
import { randomPlain, toTensor } from "../helpers/plain.js";
import { trainingKernels } from "../helpers/training-kernels.js";

type Forward = Module & { forward(x: Tensor): Tensor };
interface Stepper extends Disposable {
  step(loss: LossFunction): Promise<{ loss: number }>;
}

const images = (shape: number[]) => (device: Device) =>
  toTensor(randomPlain(shape, 1), "float32", device);
const integers = (shape: number[], below: number) => (device: Device) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return Tensor.from(
    Int32Array.from({ length: size }, (_, i) => (i * i + i) % below),
    shape,
    { device },
  );
};
const gpt = { vocabulary: 11, context: 6, width: 16, layers: 1, heads: 2 };

/** A short training of each kind. `terms`: numbers that the longest sum of a step adds, the scale of rounding. */
const trainings: {
  name: string;
  terms: number;
  model: (options: ParameterOptions) => Forward;
  optimizer: (params: Iterable<Parameter>) => Stepper;
  x: (device: Device) => Tensor;
  target: (device: Device) => Tensor;
}[] = [
  {
    name: "an mlp with SGD",
    terms: 48,
    model: (options) => mlp([24, 48, 5], options),
    optimizer: (params) => new SGD(params, { lr: 0.1 }),
    x: images([40, 24]),
    target: integers([40], 5),
  },
  {
    name: "an mlp with AdaHessian",
    terms: 48,
    model: (options) => mlp([24, 48, 5], { ...options, activation: "tanh" }),
    optimizer: (params) => new AdaHessian(params, { lr: 0.05 }),
    x: images([40, 24]),
    target: integers([40], 5),
  },
  {
    name: "a cnn with SGD",
    terms: 6 * 64,
    model: (options) => cnn({ ...options, channels: 1, classes: 3, width: 2, blocks: 1 }),
    optimizer: (params) => new SGD(params, { lr: 0.05 }),
    x: images([6, 1, 8, 8]),
    target: integers([6], 3),
  },
  {
    name: "a cnn with Sophia",
    terms: 6 * 64,
    model: (options) => cnn({ ...options, channels: 1, classes: 3, width: 2, blocks: 1 }),
    optimizer: (params) => new Sophia(params, { lr: 0.01, curvature: "hutchinson" }),
    x: images([6, 1, 8, 8]),
    target: integers([6], 3),
  },
  {
    name: "a gpt with AdamW",
    terms: 64,
    model: (options) => transformerLM({ ...options, ...gpt }),
    optimizer: (params) => new AdamW(params, { lr: 0.01 }),
    x: integers([3, 6], 11),
    target: integers([3, 6], 7),
  },
];

const STEPS = 6;

async function lossesOf(row: (typeof trainings)[number], device: Device): Promise<number[]> {
  const model = row.model({ device, initial: new InitialValues(3) });
  const [x, target] = [row.x(device), row.target(device)];
  using optimizer = row.optimizer(model.parameters());
  const losses: number[] = [];
  for (let i = 0; i < STEPS; ++i)
    losses.push((await optimizer.step(() => crossEntropy(model.forward(x), target))).loss);
  for (const { tensor } of model.parameters()) tensor.dispose();
  x.dispose();
  target.dispose();
  return losses;
}

eachDevice(
  "training",
  (device) => {
    test.each(trainings.map((row) => ({ row, name: row.name })))("$name", async ({ row }) => {
      const expected = await lossesOf(row, "cpu");
      const losses = await lossesOf(row, device);
      expect(losses[STEPS - 1]).toBeLessThan(losses[0]!);
      // The first loss differs by the rounding of its sums; each step adds as much again, through parameters that differ.
      losses.forEach((loss, i) => {
        const allowed = device === "cpu" ? 0 : (i + 1) * row.terms * 2 ** -23 * expected[i]!;
        expect(Math.abs(loss - expected[i]!)).toBeLessThanOrEqual(allowed);
      });
    });

    test("a training leaves nothing behind on the device", async () => {
      const row = trainings[0]!;
      await lossesOf(row, device);
      const before = (await settledMemory({ device })).liveBlocks;
      await lossesOf(row, device);
      expect((await settledMemory({ device })).liveBlocks).toBeLessThanOrEqual(before);
    });
  },
  trainingKernels,
);
