import type { Device } from "../binding/index.js";
import { ArgumentError, DisposedError, FormatError, expected } from "../errors.js";
import { loadTensors, saveTensors } from "../formats/index.js";
import { Tensor, keep } from "../tensor/index.js";

/** The Kronecker factors of one layer: its Fisher block is about `inputs (x) outputs`. */
export interface LayerFactors {
  /**
   * A, the mean of `a a^T` over what the weight multiplies: `[d, d]`, `[groups, d, d]` of a convolution with several groups.
   * With a bias, d is one more than the inputs and the last of them is 1. Of an Embedding the diagonal `[count]`: how often
   * each row is used.
   */
  readonly inputs: Tensor;
  /** G, the mean of `s s^T` over examples, summed over places; s is the derivative of an example's loss by the output. `[outputs, outputs]` likewise. */
  readonly outputs: Tensor;
  /** Whether the last of the inputs belongs to the bias. */
  readonly bias: boolean;
  /** Rows that A is the mean of. */
  readonly rows: number;
}

const KIND = "osculate.curvature_store";
const VERSION = "1";

/**
 * Kronecker factors by layer: kept after training or gathered by `kroneckerFactors`, for later use, e.g. by `gptq`.
 *
 * @example
 * const store = await kroneckerFactors(() => crossEntropy(model.forward(x), y), model);
 * await store.save("curvature.safetensors");
 * using gram = store.gram("layers.0");
 * const quantized = await gptq(model.layers[0].weight, gram, { bits: 4 });
 */
export class CurvatureStore {
  readonly #layers: Map<string, LayerFactors>;
  #disposed = false;

  /** @param layers taken over: the store disposes the tensors. */
  constructor(layers: ReadonlyMap<string, LayerFactors>) {
    const fn = "CurvatureStore";
    for (const [name, { inputs, outputs }] of layers) {
      checkFactor(fn, `${name}.inputs`, inputs);
      checkFactor(fn, `${name}.outputs`, outputs);
    }
    this.#layers = new Map(layers);
    for (const { inputs, outputs } of layers.values()) [inputs, outputs].forEach(keep);
  }

  /** By the layer's path in the model. */
  get layers(): ReadonlyMap<string, LayerFactors> {
    return this.#layers;
  }

  /** @throws ArgumentError with the names there are; DisposedError */
  layer(name: string): LayerFactors {
    return this.#find("CurvatureStore.layer", name);
  }

  /**
   * The second moment of a layer's inputs without the bias, `[inputs, inputs]`: what `gptq` and its like take as a gram.
   *
   * @param group of a convolution with several.
   * @returns a new tensor, which the caller disposes.
   * @throws ArgumentError for an Embedding, an unknown layer or group.
   */
  gram(name: string, group = 0): Tensor {
    const fn = "CurvatureStore.gram";
    const { inputs, bias } = this.#find(fn, name);
    if (inputs.rank < 2)
      throw new ArgumentError(expected(fn, "a layer that multiplies its input", "name", name));
    const groups = inputs.rank === 3 ? (inputs.shape[0] ?? 0) : 1;
    if (!Number.isInteger(group) || group < 0 || group >= groups)
      throw new ArgumentError(expected(fn, `one of the ${groups} groups`, "group", group));
    const d = inputs.shape.at(-1) ?? 0;
    const n = bias ? d - 1 : d;
    using stacked = inputs.reshape([groups, d, d]);
    using one = stacked.slice(0, group, group + 1);
    using matrix = one.reshape([d, d]);
    using rows = matrix.slice(0, 0, n);
    using block = rows.slice(1, 0, n);
    return block.contiguous();
  }

  /** Writes the factors as safetensors, whole or not at all. @throws IoError, DisposedError */
  async save(path: string): Promise<void> {
    this.#check("CurvatureStore.save");
    const tensors = new Map<string, Tensor>();
    const about: Record<string, { bias: boolean; rows: number }> = {};
    for (const [name, { inputs, outputs, bias, rows }] of this.#layers) {
      tensors.set(`${name}.inputs`, inputs);
      tensors.set(`${name}.outputs`, outputs);
      about[name] = { bias, rows };
    }
    const metadata = { kind: KIND, version: VERSION, layers: JSON.stringify(about) };
    await saveTensors(path, tensors, metadata);
  }

  /** Reads what `save` wrote. @throws FormatError when the file is not a saved store; IoError; DeviceError */
  static async load(
    path: string,
    options: { readonly device?: Device | undefined } = {},
  ): Promise<CurvatureStore> {
    const { tensors, metadata } = await loadTensors(path, options.device ?? "cpu");
    try {
      return new CurvatureStore(readLayers(path, tensors, metadata));
    } catch (error) {
      for (const tensor of tensors.values()) tensor.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.#disposed = true;
    for (const { inputs, outputs } of this.#layers.values()) {
      inputs.dispose();
      outputs.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #find(fn: string, name: string): LayerFactors {
    this.#check(fn);
    const found = this.#layers.get(name);
    if (found === undefined)
      throw new ArgumentError(
        expected(fn, `one of ${[...this.#layers.keys()].join(", ")}`, "name", name),
      );
    return found;
  }

  #check(fn: string): void {
    if (this.#disposed) throw new DisposedError(`${fn}: the store was disposed`);
  }
}

/** A vector, a square matrix or a batch of them. */
function checkFactor(fn: string, name: string, factor: Tensor): void {
  const { shape, rank, dtype } = factor;
  const square = rank === 1 || ((rank === 2 || rank === 3) && shape.at(-1) === shape.at(-2));
  if (!square || !["float32", "float64"].includes(dtype))
    throw new ArgumentError(
      expected(
        fn,
        "a float32 or float64 vector, square matrix or batch of them",
        name,
        `${dtype} [${shape.join(", ")}]`,
      ),
    );
}

function readLayers(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: ReadonlyMap<string, string>,
): Map<string, LayerFactors> {
  const refuse = (reason: string, cause?: unknown): never => {
    const message = `CurvatureStore.load: ${path} is not a saved store: ${reason}`;
    throw new FormatError(message, { details: { path, reason }, cause });
  };
  for (const [key, value] of [
    ["kind", KIND],
    ["version", VERSION],
  ] as const) {
    const found = metadata.get(key);
    if (found !== value) refuse(`its ${key} is ${found ?? "not given"}, not ${value}`);
  }
  let about: unknown;
  try {
    about = JSON.parse(metadata.get("layers") ?? "");
  } catch (error) {
    refuse("its list of layers is no JSON", error);
  }
  if (typeof about !== "object" || about === null || Array.isArray(about))
    return refuse("its list of layers is no object");
  const layers = new Map<string, LayerFactors>();
  for (const [name, value] of Object.entries(about) as [string, Record<string, unknown> | null][]) {
    const { bias, rows } = value ?? {};
    if (typeof bias !== "boolean" || !Number.isSafeInteger(rows) || Number(rows) < 0)
      refuse(`layer ${name} has no bias or rows`);
    const take = (side: string) =>
      tensors.get(`${name}.${side}`) ?? refuse(`${name}.${side} is missing`);
    layers.set(name, {
      inputs: take("inputs"),
      outputs: take("outputs"),
      bias: bias === true,
      rows: Number(rows),
    });
  }
  if (tensors.size !== 2 * layers.size) refuse("it has tensors of no layer");
  return layers;
}
