import {
  concat,
  grad,
  matmul,
  reshape,
  scale,
  scatterAdd,
  valueAndGrad,
} from "../autodiff/index.js";
import { ArgumentError, NumericalError, ShapeError, abortError, expected } from "../errors.js";
import { Embedding, type Module, type Parameter } from "../nn/index.js";
import { copyInto } from "../ops/copy.js";
import { findNonFinite } from "../ops/find-non-finite.js";
import { axpby } from "../ops/vector-update.js";
import { keep, scope, Tensor } from "../tensor/index.js";
import { chosenLayers, layerTensors, type LayerChoice } from "./kronecker.js";
import { biasOf, inputRows, outputRows, type MatrixLayer } from "./layer-rows.js";
import { observeLayers } from "./observe.js";

export interface PerExampleOptions extends LayerChoice {
  /**
   * The loss of one example alone, for parameters of other parts (norms, LSTM, ...): a gradient an example. Needed where the
   * model has such parameters and `layers` does not choose among the others.
   */
  readonly exampleLoss?: ((example: number) => Tensor) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PerExampleGradients {
  readonly examples: number;
  /** By the parameter's name, `[examples, ...shape]`; the caller disposes them. */
  readonly gradients: ReadonlyMap<string, Tensor>;
  dispose(): void;
}

/** `[batch, ...weight]` and `[batch, outputs]` of one use of a layer. */
function usePerExample(
  layer: MatrixLayer,
  input: Tensor,
  cotangent: Tensor,
): { weight: Tensor; bias?: Tensor } {
  const outputs = outputRows(layer, cotangent);
  const [, batch = 0, places = 0, width = 0] = outputs.shape;
  if (layer instanceof Embedding) {
    const rows = reshape(outputs, [batch, places, width]);
    const indices = (input.isContiguous ? input : input.contiguous()).reshape([batch, places]);
    const { shape } = layer.weight;
    const each = Array.from({ length: batch }, (_, b) => {
      const one = rows.slice(0, b, b + 1).reshape([places, width]);
      const index = indices.slice(0, b, b + 1).reshape([places]);
      return scatterAdd(one, index, shape).reshape([1, ...shape]);
    });
    return { weight: concat(each) };
  }
  const products = matmul(outputs.transpose(), inputRows(layer, input)); // [groups, batch, outputs, inputs]
  const features = products.shape[3] ?? 0;
  const all = products.permute([1, 0, 2, 3]);
  const shaped = (part: Tensor, shape: readonly number[]) => reshape(part, [batch, ...shape]);
  if (layer.bias === undefined) return { weight: shaped(all, layer.weight.shape) };
  return {
    weight: shaped(all.slice(3, 0, features - 1), layer.weight.shape),
    bias: shaped(all.slice(3, features - 1, features), layer.bias.shape),
  };
}

/**
 * The gradient of each example's own loss: of Linear, Conv2d and Embedding out of one backward pass over the batch.
 *
 * @param loss the mean over the examples of a batch, one element; called once. No example may see another (batch norm in
 *   training does). The first dimension of what goes into every layer is the examples.
 * @returns tensors of `examples` times the parameters' size.
 * @throws ArgumentError for parameters of other parts without `exampleLoss`; ShapeError when layers see different numbers of
 *   examples; NumericalError `NON_FINITE` (details.parameter); `ABORTED`
 * Cost: a gradient, and as much again for the products; with `exampleLoss` a gradient an example.
 * Source: Goodfellow, Efficient per-example gradient computations, 2015; convolutions through their patches.
 *
 * @example
 * const found = await perExampleGradients(() => crossEntropy(model.forward(x), y), model);
 * found.gradients.get("layers.0.weight"); // [batch, outputs, inputs]
 */
export async function perExampleGradients(
  loss: () => Tensor,
  model: Module,
  options: PerExampleOptions = {},
): Promise<PerExampleGradients> {
  const fn = "perExampleGradients";
  const { exampleLoss, signal } = options;
  const layers = chosenLayers(fn, model, options);
  const tensors = layerTensors(layers);
  const named = [...model.parameters()];
  const others =
    options.layers === undefined ? named.filter(({ tensor }) => !tensors.includes(tensor)) : [];
  if (others.length > 0 && typeof exampleLoss !== "function") {
    const what = `a function, for ${others[0]?.name ?? ""}, which belongs to no Linear, Conv2d or Embedding`;
    throw new ArgumentError(expected(fn, what, "exampleLoss", exampleLoss));
  }
  if (signal?.aborted) throw abortError(fn, signal);
  const found = new Map<Tensor, Tensor>();
  const dispose = () => {
    for (const tensor of found.values()) tensor.dispose();
  };
  let examples: number | undefined;
  const collect = (param: Tensor | undefined, term: Tensor | undefined) => {
    if (param === undefined || term === undefined) return;
    const before = found.get(param);
    if (before === undefined) found.set(param, keep(term.contiguous()));
    else axpby(1, term.isContiguous ? term : term.contiguous(), 1, before);
  };
  try {
    const { value, gradients } = observeLayers(
      layers,
      (index, input, cotangent) => {
        const named = layers[index];
        if (named === undefined) return;
        const batch = cotangent.rank < 2 ? 1 : (cotangent.shape[0] ?? 0);
        examples ??= batch;
        if (batch !== examples)
          throw new ShapeError(
            expected(
              fn,
              `${examples} examples, as other layers saw,`,
              `the input of ${named.name}`,
              input.shape,
            ),
          );
        scope(() => {
          const { weight, bias } = usePerExample(named.layer, input, scale(cotangent, batch));
          collect(named.layer.weight, weight);
          collect(biasOf(named.layer), bias);
        });
      },
      () => valueAndGrad(loss, tensors),
    );
    for (const tensor of [value, ...gradients]) tensor.dispose();
    const count = examples ?? 0;
    for (const param of tensors) if (!found.has(param)) found.set(param, zeros(count, param));
    if (exampleLoss !== undefined && others.length > 0)
      oneByOne(fn, count, others, exampleLoss, found, signal);
    const result = new Map<string, Tensor>();
    for (const { name, tensor } of named) {
      const gradient = found.get(tensor);
      if (gradient === undefined) continue;
      const bad = (await findNonFinite(gradient)).count;
      if (bad > 0)
        throw new NumericalError(
          "NON_FINITE",
          `${fn}: the gradients of ${name} have ${bad} NaN or Inf`,
          {
            details: { parameter: name },
          },
        );
      result.set(name, gradient);
    }
    return { examples: count, gradients: result, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

function zeros(count: number, { shape, dtype, device }: Tensor): Tensor {
  return keep(Tensor.zeros([count, ...shape], { dtype, device }));
}

function oneByOne(
  fn: string,
  count: number,
  others: readonly Parameter[],
  exampleLoss: (example: number) => Tensor,
  found: Map<Tensor, Tensor>,
  signal: AbortSignal | undefined,
): void {
  const params = others.map(({ tensor }) => tensor);
  for (const param of params) found.set(param, zeros(count, param));
  for (let b = 0; b < count; ++b) {
    if (signal?.aborted) throw abortError(fn, signal);
    const gradients = grad(() => exampleLoss(b), params);
    scope(() => {
      params.forEach((param, i) => {
        const row = found.get(param)?.slice(0, b, b + 1);
        const gradient = gradients[i];
        if (row !== undefined && gradient !== undefined)
          copyInto(fn, reshape(gradient, [1, ...param.shape]), row);
      });
    });
    for (const gradient of gradients) gradient.dispose();
  }
}
