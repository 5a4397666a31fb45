import type { Device } from "../binding/index.js";
import { ArgumentError, DeviceError, expected } from "../errors.js";
import { checkInteger, checkTensor } from "../ops/check.js";
import { accumulateInputGram, accumulateInputGramSync } from "../ops/input-gram.js";
import type { Tensor } from "../tensor/index.js";
import { loadGram, saveGram } from "./gram-file.js";
import { type AddOptions, GramState, callOptions } from "./gram-state.js";

/**
 * The second moment of a layer's inputs, `H = 2/N X^T X`, gathered batch by batch.
 *
 * Tokens are gathered to chunks of 2048 first: float32 products over a chunk, their sums in float64 (up to 2048 features) or
 * float32 (above). So the result does not depend on how the tokens were cut into batches, nor on the number of threads.
 * Memory: 8 in^2 (float64) or 4 in^2 bytes, and 8192 in.
 */
export class InputGram {
  readonly #state: GramState;
  readonly #group: number;

  /** Of a convolution: the buffers belong to its `ConvInputGram`. */
  readonly #shared: boolean;

  /** @internal Use `inputGram`. `group`: one of a convolution, which owns the state. */
  constructor(state: GramState, group?: number) {
    this.#state = state;
    this.#group = group ?? 0;
    this.#shared = group !== undefined;
  }

  get inFeatures(): number {
    return this.#state.inFeatures;
  }

  /** Tokens added so far (calls of `add` that are still running not counted). */
  get count(): number {
    return this.#state.count;
  }

  get device(): Device {
    return this.#state.device;
  }

  get disposed(): boolean {
    return this.#state.disposed;
  }

  /**
   * Adds a batch. Calls are queued and done in order; `gptq`, `matrix` and `save` wait for them. The values of X must not
   * change until the promise settles; disposing X before is fine.
   *
   * @param X `[tokens, in]` float32, any strides, on the gram's device; 0 tokens are allowed.
   * @param options `label` is named in errors. An abort while the batch waits for its turn leaves the gram as it was; an abort
   *   during the work leaves a part of the batch in it, and every later call throws.
   * @throws ShapeError, DTypeError, DeviceError, DisposedError; NumericalError `NON_FINITE` (details.index: row-major position
   *   in X, details.label; the gram is as it was).
   * Cost: `tokens * in^2` flops.
   */
  async add(X: Tensor, options: AddOptions = {}): Promise<void> {
    const fn = "InputGram.add";
    this.#checkInput(fn, X);
    options.signal?.throwIfAborted();
    const work = async (held: Tensor) => {
      const { buffers, dispose } = this.#state.buffers(this.#group);
      try {
        return await accumulateInputGram(fn, held, buffers, callOptions(options));
      } finally {
        dispose();
      }
    };
    await this.#state.add(fn, X, X.shape[0] ?? 0, options.signal, work);
  }

  /** Like `add`, blocking. Throws `ArgumentError` while an `add` is running. */
  addSync(X: Tensor, options: Pick<AddOptions, "label"> = {}): void {
    const fn = "InputGram.addSync";
    this.#checkInput(fn, X);
    const { buffers, dispose } = this.#state.buffers(this.#group);
    try {
      this.#state.addSync(fn, X.shape[0] ?? 0, () =>
        accumulateInputGramSync(fn, X, buffers, options.label),
      );
    } finally {
      dispose();
    }
  }

  /** `2/N X^T X` of everything added so far, `[in, in]` float64 (in <= 2048) or float32; waits for the queue. The caller disposes it. */
  async matrix(): Promise<Tensor> {
    return this.#state.read("InputGram.matrix", () => this.#state.matrix(this.#group));
  }

  /** Like `matrix`, blocking. Throws `ArgumentError` while an `add` is running. */
  matrixSync(): Tensor {
    return this.#state.readSync("InputGram.matrixSync", () => this.#state.matrix(this.#group));
  }

  /** Writes the state as safetensors, whole or not at all; a loaded gram goes on to the same bits. Waits for the queue. */
  async save(path: string): Promise<void> {
    await this.#state.read("InputGram.save", () => saveGram(path, this.#state, this.#group));
  }

  /**
   * Reads what `save` wrote.
   * @throws IoError, FormatError when the file is not a saved gram.
   */
  static async load(
    path: string,
    options: { readonly device?: Device | undefined } = {},
  ): Promise<InputGram> {
    return new InputGram(await loadGram(path, options.device ?? "cpu"));
  }

  /** Frees the buffers. Work in progress still finishes. A gram of a convolution goes with its `ConvInputGram` only. */
  dispose(): void {
    if (!this.#shared) this.#state.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkInput(fn: string, X: Tensor): void {
    this.#state.check(fn);
    if (this.#shared) {
      throw new ArgumentError(
        `${fn}: this gram is group ${this.#group} of a convolution: add images to its ConvInputGram`,
      );
    }
    checkTensor(fn, "X", X, ["float32"], ["tokens", this.inFeatures]);
    if (X.device !== this.device) {
      throw new DeviceError(
        "DEVICE_UNAVAILABLE",
        expected(fn, `a tensor on ${this.device}, as the gram`, "X", X.device),
      );
    }
  }
}

/**
 * A gram for a layer with `inFeatures` inputs.
 *
 * @example
 * const gram = inputGram(768);
 * for await (const X of batches) await gram.add(X); // [tokens, 768] float32
 * const H = await gram.matrix();
 */
export function inputGram(
  inFeatures: number,
  options: { readonly device?: Device | undefined } = {},
): InputGram {
  checkInteger("inputGram", "inFeatures", inFeatures, 0, 2 ** 31 - 1);
  return new InputGram(new GramState(1, inFeatures, options.device ?? "cpu"));
}
