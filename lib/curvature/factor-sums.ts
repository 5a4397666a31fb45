import { add, matmul, reshape, scale, scatterAdd, sum } from "../autodiff/index.js";
import { Embedding } from "../nn/index.js";
import { axpby } from "../ops/vector-update.js";
import { keep, scope, Tensor } from "../tensor/index.js";
import { groupsOf, inputRows, outputRows, type MatrixLayer } from "./layer-rows.js";

/**
 * How a weight that is used at several places of an example (time steps, tokens, positions of an image) is treated. "expand":
 * every place as an example of its own. "reduce": the mean of the inputs and the sum of the derivatives over the places.
 * Source: Eschenhagen et al., Kronecker-factored approximate curvature for modern neural network architectures, 2023.
 */
export type Sharing = "expand" | "reduce";

/** A sum of tensors of one shape; the first one is taken over. */
class Sum {
  value: Tensor | undefined;

  add(term: Tensor): void {
    if (this.value === undefined) {
      const own = term.isContiguous ? term : term.contiguous();
      this.value = keep(own);
    } else {
      axpby(1, term, 1, this.value);
    }
  }

  take(): Tensor | undefined {
    const { value } = this;
    this.value = undefined;
    return value;
  }
}

/** @internal The two factors of one layer, summed over its uses and over batches. */
export class FactorSums {
  readonly #inputs = new Sum();
  readonly #outputs = new Sum();
  /** Of the batch that is running, where places are reduced. */
  readonly #placeInputs = new Sum();
  readonly #placeOutputs = new Sum();
  #places = 0;
  #terms = 0;
  #rows = 0;
  #batches = 0;

  constructor(
    readonly layer: MatrixLayer,
    readonly sharing: Sharing,
    /** Terms that the loss of a batch is the mean of; default the examples of the batch. */
    readonly terms: number | undefined,
  ) {}

  /** Rows that the factor of the inputs is the mean of. */
  get rows(): number {
    return this.#rows;
  }

  add(input: Tensor, cotangent: Tensor): void {
    scope(() => {
      const terms = this.terms ?? (input.rank === 0 ? 1 : (input.shape[0] ?? 1));
      const outputs = outputRows(this.layer, cotangent);
      if (this.layer instanceof Embedding) {
        const one = Tensor.from([1], [1], {
          dtype: cotangent.dtype as "float32",
          device: cotangent.device,
        });
        const indices = input.isContiguous ? input : input.contiguous();
        const count = this.layer.weight.shape[0] ?? 0;
        this.#inputs.add(
          scatterAdd(one.expand([input.size]), indices.reshape([input.size]), [count]),
        );
        this.#rows += input.size;
        this.#addOutputs(outputs, terms);
      } else if (this.sharing === "expand") {
        this.#addInputs(inputRows(this.layer, input));
        this.#addOutputs(outputs, terms);
      } else {
        const inputs = inputRows(this.layer, input);
        this.#placeInputs.add(sum(inputs, 2, { keepDims: true }));
        this.#placeOutputs.add(sum(outputs, 2, { keepDims: true }));
        this.#places += inputs.shape[2] ?? 0;
        this.#terms = terms;
      }
    });
  }

  /** After the backward pass of each batch. */
  endBatch(): void {
    this.#batches += 1;
    const [inputs, outputs] = [this.#placeInputs.take(), this.#placeOutputs.take()];
    if (inputs === undefined || outputs === undefined) return;
    scope(() => {
      this.#addInputs(scale(inputs, 1 / this.#places));
      this.#addOutputs(outputs, this.#terms);
    });
    inputs.dispose();
    outputs.dispose();
    this.#places = 0;
  }

  /** The factors, which the caller owns from now on; undefined when no loss depended on the layer. */
  finish(): { readonly inputs: Tensor; readonly outputs: Tensor } | undefined {
    const [inputs, outputs] = [this.#inputs.take(), this.#outputs.take()];
    if (inputs === undefined || outputs === undefined) return undefined;
    return {
      inputs: symmetric(inputs, 1 / this.#rows),
      outputs: symmetric(outputs, 1 / this.#batches),
    };
  }

  dispose(): void {
    for (const part of [this.#inputs, this.#outputs, this.#placeInputs, this.#placeOutputs])
      part.take()?.dispose();
  }

  #addInputs(rows: Tensor): void {
    this.#rows += (rows.shape[1] ?? 0) * (rows.shape[2] ?? 0);
    this.#inputs.add(this.#gram(rows));
  }

  #addOutputs(rows: Tensor, terms: number): void {
    // The loss is a mean: the derivative of one term is `terms` times what arrives, and the mean of squares divides by it once.
    this.#outputs.add(scale(this.#gram(rows), terms));
  }

  /** `X^T X` over examples and places: `[d, d]`, or `[groups, d, d]` of a convolution with several. */
  #gram(x: Tensor): Tensor {
    const [groups = 1, batch = 0, places = 0, features = 0] = x.shape;
    const rows = reshape(x, [groups, batch * places, features]);
    const gram = matmul(rows.transpose(), rows);
    return groupsOf(this.layer) === 1 ? gram.reshape([features, features]) : gram;
  }
}

/** The mean of a sum and its transpose, which rounding keeps apart; of a diagonal the sum itself. Takes the sum over. */
function symmetric(total: Tensor, factor: number): Tensor {
  const result = scope(() =>
    total.rank === 1 ? scale(total, factor) : scale(add(total, total.transpose()), factor / 2),
  );
  total.dispose();
  return keep(result);
}
