/** Gram matrices of the layers of a job, filled from activations as they come. */
import {
  type ConvInputGram,
  convInputGram,
  type InputGram,
  inputGram,
} from "../curvature/index.js";
import { DTypeError, expected, NumericalError, OsculateError, ShapeError } from "../errors.js";
import type { Device } from "../binding/index.js";
import type { TypedHostTensor } from "../graph/element-types.js";
import type { QuantizableLayer } from "../graph/layers.js";
import { Tensor } from "../tensor/index.js";
import { gramKey } from "./layer-cost.js";

interface Entry {
  readonly gram: InputGram | ConvInputGram;
  /** Layers that still have to read it. */
  readonly users: Set<string>;
  /** For messages: the first layer that it belongs to. */
  readonly layer: QuantizableLayer;
}

/**
 * Layers that read the same tensor in the same way share one Gram matrix (or one a convolution group).
 * A matrix goes when the last of its layers is released.
 */
export class LayerGrams {
  readonly #entries = new Map<string, Entry>();
  readonly #device: Device;

  constructor(layers: readonly QuantizableLayer[], options: { device: Device }) {
    this.#device = options.device;
    for (const layer of layers) {
      const key = gramKey(layer);
      const entry = this.#entries.get(key);
      if (entry !== undefined) {
        entry.users.add(layer.name);
        continue;
      }
      const gram =
        layer.conv === undefined
          ? inputGram(layer.columns, { device: this.#device })
          : convInputGram(layer.conv, { device: this.#device });
      this.#entries.set(key, { gram, users: new Set([layer.name]), layer });
    }
  }

  /**
   * Fold one activation into every matrix that reads this tensor.
   *
   * @throws NumericalError "NON_FINITE" naming layer, tensor and batch; DTypeError, ShapeError.
   */
  async add(
    inputName: string,
    activation: TypedHostTensor,
    batch: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    for (const { gram, layer } of this.#entries.values()) {
      if (layer.inputName !== inputName) continue;
      const X = this.#tensor(layer, activation);
      try {
        await gram.add(X, { signal, label: `input of layer ${layer.name}, batch ${batch}` });
      } catch (cause) {
        if (!(cause instanceof OsculateError) || cause.code !== "NON_FINITE") throw cause;
        throw new NumericalError(
          "NON_FINITE",
          `calibration: the activations that feed layer ${layer.name} (tensor ${inputName}) are not finite in batch ${batch}: ${cause.message}`,
          { details: { ...cause.details, layer: layer.name, tensor: inputName, batch }, cause },
        );
      } finally {
        X.dispose();
      }
    }
  }

  #tensor(layer: QuantizableLayer, { data, dims, type }: TypedHostTensor): Tensor {
    const fn = "calibration";
    const name = `the input ${layer.inputName} of layer ${layer.name}`;
    if (type !== "float32" || !(data instanceof Float32Array)) {
      throw new DTypeError(expected(fn, "float32", name, type));
    }
    const device = this.#device;
    if (layer.conv === undefined) {
      if (dims.at(-1) !== layer.columns) {
        throw new ShapeError(expected(fn, `a last dimension of ${layer.columns}`, name, dims));
      }
      const shape = [data.length / layer.columns, layer.columns];
      return Tensor.from(data, shape, { borrow: device === "cpu", device });
    }
    // A 1-D convolution is a 2-D one of height 1.
    const shape = dims.length === 3 ? [dims[0] ?? 0, dims[1] ?? 0, 1, dims[2] ?? 0] : dims;
    if (shape.length !== 4 || shape[1] !== layer.conv.channels) {
      throw new ShapeError(
        expected(fn, `[N, ${layer.conv.channels}, ...] of rank 3 or 4`, name, dims),
      );
    }
    return Tensor.from(data, shape, { borrow: device === "cpu", device });
  }

  /** The matrices of a layer, one per convolution group. */
  of(layer: QuantizableLayer): readonly InputGram[] {
    const entry = this.#entries.get(gramKey(layer));
    if (entry === undefined) return [];
    return "grams" in entry.gram ? entry.gram.grams : [entry.gram];
  }

  /** Say that a layer needs its matrices no more. */
  release(layer: QuantizableLayer): void {
    const key = gramKey(layer);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.users.delete(layer.name);
    if (entry.users.size > 0) return;
    entry.gram.dispose();
    this.#entries.delete(key);
  }

  dispose(): void {
    for (const { gram } of this.#entries.values()) gram.dispose();
    this.#entries.clear();
  }
}
