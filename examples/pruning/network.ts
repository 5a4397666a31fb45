/** The network of the example, how it is trained, and gradients of it for the pruners. */
import { crossEntropy, relu, reshape, valueAndGrad } from "../../lib/autodiff/index.js";
import { pgd } from "../../lib/compress/index.js";
import { imageBatches, type ImageDataset } from "../../lib/data/index.js";
import { Conv2d, InitialValues, Linear, Module, type Parameter } from "../../lib/nn/index.js";
import { AdamW } from "../../lib/optim/index.js";
import { copyInto } from "../../lib/ops/copy.js";
import { scope, Tensor } from "../../lib/tensor/index.js";

/** Two convolutions that halve the picture, a hidden layer, classes. */
export class SmallCNN extends Module {
  readonly first: Conv2d;
  readonly second: Conv2d;
  readonly hidden: Linear;
  readonly output: Linear;

  constructor(seed: number) {
    super();
    const initial = new InitialValues(seed);
    this.first = new Conv2d(1, 16, 3, { stride: 2, padding: 1, initial });
    this.second = new Conv2d(16, 32, 3, { stride: 2, padding: 1, initial });
    this.hidden = new Linear(32 * 49, 64, { initial });
    this.output = new Linear(64, 10, { initial });
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const images = relu(this.second.forward(relu(this.first.forward(x))));
      const features = reshape(images, [x.shape[0] ?? 0, 32 * 49]);
      return this.output.forward(relu(this.hidden.forward(features)));
    });
  }

  copy(): SmallCNN {
    const twin = new SmallCNN(0);
    twin.loadStateDict(this.stateDict());
    return twin;
  }

  /** What is pruned: all but the first convolution and the classes. */
  get pruned(): Parameter[] {
    return [
      { name: "second.weight", tensor: this.second.weight },
      { name: "hidden.weight", tensor: this.hidden.weight },
    ];
  }
}

export interface TrainOptions {
  readonly steps: number;
  readonly seed: number;
  readonly lr: number;
  /** Held while it trains. */
  readonly masks?: ReadonlyMap<string, Tensor> | undefined;
  /** Instead of cross-entropy. Pictures may be changed to attacked ones. */
  readonly prepare?: ((x: Tensor, y: Tensor) => Promise<Tensor>) | undefined;
  readonly loss?: ((attacked: Tensor, x: Tensor, y: Tensor) => Tensor) | undefined;
}

export async function train(
  model: SmallCNN,
  data: ImageDataset,
  options: TrainOptions,
): Promise<void> {
  const { steps, seed, lr, masks, prepare } = options;
  const { loss = (x, _, y) => crossEntropy(model.forward(x), y) } = options;
  using optimizer = new AdamW(model.parameters(), {
    lr: { schedule: "linear", from: lr, to: 0, steps },
    weightDecay: 0,
  });
  if (masks) optimizer.setMasks(masks);
  let step = 0;
  for (let epoch = 0; step < steps; ++epoch) {
    for (const { x, y } of imageBatches(data, { batchSize: 64, seed: seed + 1000 * epoch })) {
      const attacked = prepare === undefined ? x : await prepare(x, y);
      await optimizer.step(() => loss(attacked, x, y));
      for (const tensor of [x, y, attacked]) tensor.dispose();
      if (++step === steps) break;
    }
  }
}

/** m gradients of batches of 16, one a row, for each of the parameters: `[m, size]`. */
export function gradients(
  model: SmallCNN,
  parameters: readonly Parameter[],
  data: ImageDataset,
  m: number,
  seed: number,
): Tensor[] {
  const rows = parameters.map(({ tensor }) => Tensor.zeros([m, tensor.size]));
  let i = 0;
  for (const { x, y } of imageBatches(data, { batchSize: 16, seed })) {
    const { value, gradients: list } = valueAndGrad(
      () => crossEntropy(model.forward(x), y),
      parameters.map(({ tensor }) => tensor),
    );
    list.forEach((gradient, k) => {
      using flat = gradient.contiguous();
      using line = flat.reshape([1, flat.size]);
      using place = (rows[k] as Tensor).slice(0, i, i + 1);
      copyInto("gradients", line, place);
    });
    for (const tensor of [x, y, value, ...list]) tensor.dispose();
    if (++i === m) return rows;
  }
  throw new Error(`${m} batches of 16 are more than the data has`);
}

/** Share of right answers on pictures that were attacked. */
export async function robustAccuracy(
  model: SmallCNN,
  data: ImageDataset,
  radius: number,
): Promise<number> {
  let right = 0;
  let first = 0;
  for (const { x, y } of imageBatches(data, { batchSize: 250, shuffle: false })) {
    using attacked = await pgd((at) => crossEntropy(model.forward(at), y), x, { radius });
    using logits = model.forward(attacked);
    const scores = (await logits.data()) as Float32Array;
    const count = logits.shape[0] ?? 0;
    for (let i = 0; i < count; ++i) {
      const row = Array.from(scores.subarray(10 * i, 10 * i + 10));
      if (row.indexOf(Math.max(...row)) === data.labels[first + i]) right += 1;
    }
    first += count;
    for (const tensor of [x, y]) tensor.dispose();
  }
  return right / data.count;
}
