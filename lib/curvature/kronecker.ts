import { valueAndGrad } from "../autodiff/index.js";
import type { CallOptions } from "../binding/index.js";
import { ArgumentError, NumericalError, abortError, expected } from "../errors.js";
import type { Module } from "../nn/index.js";
import { checkNumber } from "../ops/check.js";
import { findNonFinite } from "../ops/find-non-finite.js";
import type { Tensor } from "../tensor/index.js";
import { FactorSums, type Sharing } from "./factor-sums.js";
import { checkBatches, type BatchLoss, type OverBatches } from "./hessian-operator.js";
import { biasOf, matrixLayers, type NamedLayer } from "./layer-rows.js";
import { observeLayers } from "./observe.js";
import { CurvatureStore, type LayerFactors } from "./store.js";

export interface LayerChoice {
  /** Paths of the layers; default every Linear, Conv2d and Embedding. */
  readonly layers?: readonly string[] | undefined;
}

export interface KroneckerOptions extends CallOptions, OverBatches, LayerChoice {
  /** For weights used at several places of an example. Default "expand"; an Embedding is always expanded. */
  readonly sharing?: Sharing | undefined;
  /**
   * Terms that the loss of a batch is the mean of. Default: the first dimension of each layer's input. Of a language model
   * whose loss is the mean over tokens: the tokens of a batch.
   */
  readonly terms?: number | undefined;
}

/** @internal The layers chosen, checked. */
export function chosenLayers(fn: string, model: Module, { layers }: LayerChoice): NamedLayer[] {
  const all = matrixLayers(model);
  const names = all.map(({ name }) => name).join(", ");
  if (all.length === 0)
    throw new ArgumentError(
      expected(fn, "a model with a Linear, Conv2d or Embedding", "model", model),
    );
  if (layers === undefined) return all;
  for (const name of layers)
    if (!all.some((layer) => layer.name === name))
      throw new ArgumentError(expected(fn, `some of ${names}`, "layers", name));
  return all.filter(({ name }) => layers.includes(name));
}

/** @internal Weights and biases of layers, each once. */
export function layerTensors(layers: readonly NamedLayer[]): Tensor[] {
  const tensors = layers.flatMap(({ layer }) => [layer.weight, biasOf(layer)]);
  return [...new Set(tensors)].filter((tensor) => tensor !== undefined);
}

/** @internal */
function checkSharing(fn: string, sharing: unknown): void {
  if (sharing !== "expand" && sharing !== "reduce")
    throw new ArgumentError(expected(fn, '"expand" or "reduce"', "sharing", sharing));
}

/**
 * The Kronecker factors of the Fisher matrix of each Linear, Conv2d and Embedding: A of what goes in (with a 1 for the bias)
 * and G of the derivatives by what comes out, so that the layer's block is about `A (x) G`. With one example and one place it
 * is exactly that.
 *
 * The labels of the loss decide which Fisher matrix: those of the data give the empirical one, labels drawn from the model
 * (`sampleLabels`) the true one.
 *
 * @param loss one element for each batch, the mean over its examples; called once a batch.
 * @returns a store of the factors in the dtype of the weights; the caller disposes it.
 * @throws NumericalError `NON_FINITE` (details.layer), ArgumentError also when the loss does not depend on a layer, `ABORTED`
 * Cost: a gradient a batch and `2 rows (in^2 + out^2)` flops a layer. Source: Martens, Grosse, Optimizing neural networks with
 * Kronecker-factored approximate curvature, 2015; Grosse, Martens, A Kronecker-factored approximate Fisher matrix for
 * convolution layers, 2016. Ours: A is a mean over places too and G a sum, which leaves the product as it is and makes A the
 * second moment that `gptq` takes.
 *
 * @example
 * using store = await kroneckerFactors(() => crossEntropy(model.forward(x), y), model);
 * const { inputs, outputs } = store.layer("layers.0");
 */
export async function kroneckerFactors(
  loss: BatchLoss,
  model: Module,
  options: KroneckerOptions = {},
): Promise<CurvatureStore> {
  const fn = "kroneckerFactors";
  const { sharing = "expand", terms, signal, onProgress } = options;
  const layers = chosenLayers(fn, model, options);
  const batches = checkBatches(fn, options.batches);
  checkSharing(fn, sharing);
  if (terms !== undefined) checkNumber(fn, "terms", terms, "> 0", (value) => value > 0);
  const sums = layers.map(({ layer }) => new FactorSums(layer, sharing, terms));
  const found = new Map<string, LayerFactors>();
  try {
    const tensors = layerTensors(layers);
    for (let k = 0; k < batches; ++k) {
      if (signal?.aborted) throw abortError(fn, signal);
      const { value, gradients } = observeLayers(
        layers,
        (index, input, cotangent) => sums[index]?.add(input, cotangent),
        () => valueAndGrad(() => loss(k), tensors),
      );
      for (const tensor of gradients) tensor.dispose();
      for (const one of sums) one.endBatch();
      await value.data().finally(() => {
        value.dispose();
      });
      onProgress?.({ done: k + 1, total: batches });
    }
    for (const [i, { name, layer }] of layers.entries()) {
      const factors = sums[i]?.finish();
      if (factors === undefined)
        throw new ArgumentError(
          `${fn}: the loss does not depend on layer ${name}: leave it out of layers`,
        );
      found.set(name, { ...factors, bias: biasOf(layer) !== undefined, rows: sums[i]?.rows ?? 0 });
      for (const tensor of Object.values(factors)) await refuseNonFinite(fn, name, tensor);
    }
    return new CurvatureStore(found);
  } catch (error) {
    for (const one of sums) one.dispose();
    for (const { inputs, outputs } of found.values()) {
      inputs.dispose();
      outputs.dispose();
    }
    throw error;
  }
}

async function refuseNonFinite(fn: string, layer: string, factor: Tensor): Promise<void> {
  const { count } = await findNonFinite(factor);
  if (count > 0)
    throw new NumericalError(
      "NON_FINITE",
      `${fn}: a factor of layer ${layer} has ${count} NaN or Inf`,
      {
        details: { layer },
      },
    );
}
