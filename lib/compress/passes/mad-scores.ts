import { add, mul, softplus, valueAndGrad } from "../../autodiff/index.js";
import { convInputGram, inputGram } from "../../curvature/index.js";
import { ArgumentError, abortError, expected } from "../../errors.js";
import { Conv2d, Linear, type Module, withWeights } from "../../nn/index.js";
import { adamwStep } from "../../ops/adamw-step.js";
import { checkInteger, checkNumber, checkTensor } from "../../ops/check.js";
import { pairOf } from "../../ops/conv2d.js";
import { copyInto } from "../../ops/copy.js";
import { reduce } from "../../ops/reduce.js";
import { TensorMean, flat, item } from "../../ops/tensor-mean.js";
import { unary } from "../../ops/unary.js";
import { Tensor, keep, scope } from "../../tensor/index.js";
import { type AttackOptions, pgd } from "../attack.js";
import { madSaliency, softplusInverse } from "./mad.js";

type MadLayer = Linear | Conv2d;

export interface MadScoresOptions<Batch> {
  /** Batches, each with its inputs x, float32 `[batch, ...]`, and whatever `loss` needs. */
  readonly batches: Iterable<Batch> | AsyncIterable<Batch>;
  /** The mean loss of a batch from inputs shaped like x, by the model. Synchronous, the same value each time. */
  readonly loss: (x: Tensor, batch: Batch) => Tensor;
  /** How inputs are attacked; see `pgd`. */
  readonly attack?: Omit<AttackOptions, "signal"> | undefined;
  /** Adam steps on the masks a batch. Default 20. */
  readonly maskSteps?: number | undefined;
  /** Learning rate of the masks. Default 0.1. */
  readonly maskRate?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Masking adversarial damage: for each batch of attacked inputs a soft mask on the weights, `W o log(1 + e^m)`, is trained to lower
 * the loss; how much the adversarial loss would rise by it, weight by weight, is the weight's score (`madSaliency`), averaged over
 * batches. `pruneByScores` removes the weights with the smallest.
 *
 * The K-FAC factors are, for a batch of N examples, of a linear layer `A = mean of a a^T` over inputs, and of a convolution over
 * patches; `G_ii = 1/N sum g_i^2` of the outputs' gradients of each example, summed over positions. Biases are not masked, so that
 * they have no part in the score.
 *
 * @param model in evaluation mode, so that batch norm does not move. All its `Linear` and `Conv2d` layers get scores.
 * @returns by the weight's path, `[out, the rest]` float32; the caller disposes them.
 * @throws ArgumentError (no layer, no batch, a layer that the loss does not use, zero radius), ShapeError; NumericalError
 *   `NON_FINITE`; `ABORTED`; what `loss` throws. The model is as it was.
 * Cost: a gradient for each step of the attack and of the mask and one more, a batch; 2 out in^2 flops a layer.
 * Source: Lee, Kim, Ro, "Masking Adversarial Damage", 2022.
 */
export async function madScores<Batch extends { readonly x: Tensor }>(
  model: Module,
  options: MadScoresOptions<Batch>,
): Promise<Map<string, Tensor<"float32">>> {
  const fn = "madScores";
  const { maskSteps = 20, maskRate = 0.1, signal } = options;
  checkInteger(fn, "maskSteps", maskSteps, 1, 1e6);
  checkNumber(fn, "maskRate", maskRate, "> 0", (value) => value > 0);
  const layers = new Map<string, MadLayer>();
  for (const { name, module } of model.modules())
    if (module instanceof Linear || module instanceof Conv2d)
      layers.set(name === "" ? "weight" : `${name}.weight`, module);
  if (layers.size === 0)
    throw new ArgumentError(expected(fn, "a model with a Linear or Conv2d", "model", model));
  const mean = new TensorMean();
  let seen = 0;
  try {
    for await (const batch of options.batches) {
      checkTensor(fn, "x", batch.x, ["float32"], batch.x.shape);
      const loss = (x: Tensor) => options.loss(x, batch);
      using attacked = await pgd(loss, batch.x, { ...options.attack, signal });
      const masks = [...layers.values()].map(freshMask);
      try {
        const masked = { layers: [...layers.values()], masks, loss: () => loss(attacked) };
        await trainMasks(fn, masked, maskSteps, maskRate, signal);
        mean.add(await scoresOf(fn, [...layers.keys()], masked));
      } finally {
        for (const mask of masks) mask.dispose();
      }
      seen += 1;
    }
    if (seen === 0) throw new ArgumentError(expected(fn, "one batch or more", "batches", "none"));
    const scores = mean.mean() as Tensor<"float32">[];
    return new Map([...layers.keys()].map((name, i) => [name, item(scores, i)]));
  } catch (error) {
    mean.dispose();
    throw error;
  }
}

/** The m at which f(m) is 1 and at which it is smallest. */
const [OPEN, SHUT] = [softplusInverse(1), softplusInverse(0)];

function freshMask({ weight }: MadLayer): Tensor<"float32"> {
  const { shape, device, size } = weight;
  return keep(Tensor.from(new Float32Array(size).fill(OPEN), shape, { device }));
}

interface Masked {
  readonly layers: readonly MadLayer[];
  /** m of each layer, of its weight's shape. */
  readonly masks: readonly Tensor[];
  readonly loss: () => Tensor;
}

/** The loss of the model with its weights times f(m). */
function maskedLoss({ layers, masks, loss }: Masked): Tensor {
  const weights = layers.map(
    (layer, i) => [layer, mul(layer.weight, softplus(item(masks, i)))] as const,
  );
  return withWeights(new Map(weights), loss);
}

async function trainMasks(
  fn: string,
  masked: Masked,
  steps: number,
  lr: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const states = masked.masks.map((mask) => ({
    theta: flat(mask),
    m: Tensor.zeros([mask.size], { device: mask.device }),
    v: Tensor.zeros([mask.size], { device: mask.device }),
  }));
  try {
    for (let step = 1; step <= steps; ++step) {
      if (signal?.aborted) throw abortError(fn, signal);
      const { value, gradients } = valueAndGrad(() => maskedLoss(masked), masked.masks);
      value.dispose();
      for (const [i, state] of states.entries()) {
        using gradient = item(gradients, i);
        using grad = flat(gradient);
        await adamwStep({ ...state, grad }, { lr, step, weightDecay: 0 });
        using inside = unary(fn, "clamp", state.theta, { alpha: SHUT, beta: OPEN });
        copyInto(fn, inside, state.theta);
      }
    }
  } finally {
    for (const { theta, m, v } of states) for (const tensor of [theta, m, v]) tensor.dispose();
  }
}

/** What went into a layer and the gradient of what came out, of every time it was used. */
interface Use {
  readonly layer: MadLayer;
  readonly input: Tensor;
  readonly gradient: Tensor;
}

async function scoresOf(fn: string, names: readonly string[], masked: Masked): Promise<Tensor[]> {
  const uses = usesOf(masked);
  const scores: Tensor[] = [];
  try {
    for (const [i, layer] of masked.layers.entries()) {
      const own = uses.filter((use) => use.layer === layer);
      if (own.length === 0)
        throw new ArgumentError(`${fn}: the loss does not use the layer of ${item(names, i)}`);
      using soft = unary(fn, "softplus", item(masked.masks, i));
      scores.push(await layerScores(fn, layer, soft, own));
    }
    return scores;
  } catch (error) {
    for (const score of scores) score.dispose();
    throw error;
  } finally {
    for (const { input, gradient } of uses) {
      input.dispose();
      gradient.dispose();
    }
  }
}

/** One pass to see the shapes, one in which zeros are added to the outputs and gradients taken by them. */
function usesOf(masked: Masked): Use[] {
  const seen: { layer: MadLayer; shape: readonly number[] }[] = [];
  hooked(masked.layers, (layer, _, output) => {
    seen.push({ layer, shape: output.shape });
    return output;
  })(() => {
    scope(() => {
      maskedLoss(masked);
    });
  });
  const { device } = item(masked.masks, 0);
  const zeros = seen.map(({ shape }) => Tensor.zeros(shape, { device }));
  const inputs: Tensor[] = [];
  try {
    const run = hooked(masked.layers, (_, input, output) => {
      const use = inputs.length;
      inputs.push(keep(input.contiguous()));
      return add(output, item(zeros, use));
    });
    const { value, gradients } = run(() => valueAndGrad(() => maskedLoss(masked), zeros));
    value.dispose();
    return seen.map(({ layer }, i) => ({
      layer,
      input: item(inputs, i),
      gradient: item(gradients, i),
    }));
  } catch (error) {
    for (const input of inputs) input.dispose();
    throw error;
  } finally {
    for (const zero of zeros) zero.dispose();
  }
}

/** Runs with a hook on every layer, after the layer's own. */
function hooked(
  layers: readonly MadLayer[],
  see: (layer: MadLayer, input: Tensor, output: Tensor) => Tensor,
) {
  return <T>(body: () => T): T => {
    const own = layers.map(({ hook }) => hook);
    try {
      layers.forEach((layer, i) => {
        const before = own[i];
        layer.hook = (input, output) => see(layer, input, before?.(input, output) ?? output);
      });
      return body();
    } finally {
      layers.forEach((layer, i) => (layer.hook = own[i]));
    }
  };
}

async function layerScores(
  fn: string,
  layer: MadLayer,
  soft: Tensor,
  uses: readonly Use[],
): Promise<Tensor> {
  const out = layer.weight.shape[0] ?? 0;
  const columns = layer.weight.size / Math.max(1, out);
  const factors = await inputFactors(layer, columns, uses);
  try {
    using outputs = outputFactor(fn, layer, uses);
    using weight = layer.weight.contiguous();
    using W = weight.reshape([out, columns]);
    using mask = soft.reshape([out, columns]);
    const scores = Tensor.empty([out, columns], { device: W.device });
    const rows = out / factors.length;
    factors.forEach((inputs, group) => {
      const part = (x: Tensor) => x.slice(0, group * rows, (group + 1) * rows);
      using w = part(W);
      using f = part(mask);
      using g = part(outputs);
      using own = madSaliency(w, f, { inputs, outputs: g });
      using place = part(scores);
      copyInto(fn, own, place);
    });
    return scores;
  } finally {
    for (const factor of factors) factor.dispose();
  }
}

/** E[a a^T], one matrix for each group of a convolution. */
async function inputFactors(
  layer: MadLayer,
  columns: number,
  uses: readonly Use[],
): Promise<Tensor[]> {
  const { device } = layer.weight;
  if (layer instanceof Linear) {
    using gram = inputGram(columns, { device });
    for (const { input } of uses) {
      using tokens = input.reshape([-1, columns]);
      await gram.add(tokens);
    }
    return [await half(gram.matrix())];
  }
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = layer.geometry;
  const pair = (name: string, value: Parameters<typeof pairOf>[2]) =>
    pairOf("Conv2d", name, value, 0);
  const [top, left] = pair("padding", padding);
  const [, channels = 0, height = 0, width = 0] = layer.weight.shape;
  using grams = convInputGram(
    {
      channels: channels * groups,
      kernel: [height, width],
      stride: pair("stride", stride),
      padding: [top, left, top, left],
      dilation: pair("dilation", dilation),
      groups,
    },
    { device },
  );
  for (const { input } of uses) await grams.add(input);
  const factors: Tensor[] = [];
  for (const gram of grams.grams) factors.push(await half(gram.matrix()));
  return factors;
}

/** Gram matrices are 2/N X^T X. */
async function half(matrix: Promise<Tensor>): Promise<Tensor<"float32">> {
  using twice = await matrix;
  using once = unary("madScores", "affine", twice, { alpha: 0.5, beta: 0 });
  return once.toDType("float32");
}

/** E[g_i^2] `[out]`: the loss is a mean over the batch, so each example's gradient is N times what was found. */
function outputFactor(fn: string, layer: MadLayer, uses: readonly Use[]): Tensor {
  const channel = layer instanceof Conv2d ? 1 : -1;
  const mean = new TensorMean();
  for (const { gradient } of uses) {
    const axis = channel < 0 ? gradient.rank - 1 : channel;
    const axes = gradient.shape.map((_, i) => i).filter((i) => i !== axis);
    using squares = unary(fn, "square", gradient);
    using sums = reduce(fn, "sum", squares, axes, gradient.shape[0] ?? 1);
    mean.add([sums.reshape([gradient.shape[axis] ?? 0])]);
  }
  return item(mean.mean(), 0);
}
