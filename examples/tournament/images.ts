/** A task of images and classes. */
import { crossEntropy } from "../../lib/autodiff/index.js";
import { imageBatches, type ImageDataset } from "../../lib/data/index.js";
import type { Module } from "../../lib/nn/index.js";
import { scope, type Tensor } from "../../lib/tensor/index.js";
import type { Batch, Figures, Task } from "./tournament.js";

export type Classifier = Module & { forward(images: Tensor): Tensor };

export interface ImageTask<M extends Classifier> {
  readonly model: (seed: number) => M;
  readonly train: ImageDataset;
  readonly validation: ImageDataset;
  readonly test: ImageDataset;
  readonly batchSize: number;
  readonly epochs: number;
  readonly seeds: number;
}

const EVALUATED_AT_ONCE = 250;

/** Mean loss, and `accuracy`: the share of right answers. */
async function evaluate(model: Classifier, data: ImageDataset): Promise<Figures> {
  model.train(false);
  let [loss, right] = [0, 0];
  let first = 0;
  for (const { x, y } of imageBatches(data, { batchSize: EVALUATED_AT_ONCE, shuffle: false })) {
    const { logits, mean } = scope(() => {
      const logits = model.forward(x);
      return { logits, mean: crossEntropy(logits, y) };
    });
    const [scores, [value]] = await Promise.all([logits.data(), mean.data()]);
    const [count = 0, classes = 0] = logits.shape;
    for (let i = 0; i < count; ++i) {
      const row = Array.from(scores.subarray(classes * i, classes * (i + 1)) as Float32Array);
      if (row.indexOf(Math.max(...row)) === data.labels[first + i]) right += 1;
    }
    loss += count * Number(value);
    first += count;
    for (const tensor of [x, y, logits, mean]) tensor.dispose();
  }
  model.train();
  return { loss: loss / data.count, accuracy: right / data.count };
}

export function imageTask<M extends Classifier>(options: ImageTask<M>): Task<M> {
  const { model, train, validation, test, batchSize, epochs, seeds } = options;
  const steps = epochs * Math.ceil(train.count / batchSize);
  return {
    model,
    steps,
    tuningSteps: steps,
    seeds,
    *batches(seed): Generator<Batch<M>> {
      const batches = imageBatches(train, { batchSize, seed });
      for (;;) {
        for (const { x, y } of batches) {
          yield {
            loss: (net) => crossEntropy(net.forward(x), y),
            dispose: () => {
              for (const tensor of [x, y]) tensor.dispose();
            },
          };
        }
      }
    },
    evaluate: (net, data) => evaluate(net, data === "test" ? test : validation),
  };
}

export const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
