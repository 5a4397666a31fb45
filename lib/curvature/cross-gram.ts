import { type Device, run, runSync, type Task } from "../binding/index.js";
import { DisposedError, OsculateError } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { accumulateCrossGram } from "../ops/cross-gram.js";
import { GRAM_FLOAT64_COLUMNS } from "../ops/input-gram.js";
import { axpby } from "../ops/vector-update.js";
import { Tensor, keep } from "../tensor/index.js";
import { type AddOptions, callOptions, mayHaveStopped } from "./gram-state.js";

/**
 * What a layer's inputs in the original model have to do with its inputs in the compressed one,
 * `D = 2/N (X_fp - X)^T X`, gathered batch by batch: the statistic of asymmetric calibration.
 *
 * Products are float32 over up to 2048 tokens of a batch, their sums float64 (up to 2048 features) or float32 (above). Unlike
 * an `InputGram`, the last bits depend on how the tokens were cut into batches.
 */
export class CrossGram {
  readonly #sum: Tensor;
  #count = 0;
  #broken: unknown;

  /** @internal Use `crossGram`. */
  constructor(
    readonly inFeatures: number,
    readonly device: Device,
  ) {
    const dtype = inFeatures <= GRAM_FLOAT64_COLUMNS ? "float64" : "float32";
    this.#sum = keep(Tensor.zeros([inFeatures, inFeatures], { dtype, device }));
  }

  /** Tokens added so far (calls of `add` that are still running not counted). */
  get count(): number {
    return this.#count;
  }

  get disposed(): boolean {
    return this.#sum.disposed;
  }

  /**
   * Adds a batch. Calls are done in order. The values of both tensors must not change until the promise settles.
   *
   * @param X `[tokens, in]` float32: the layer's inputs in the compressed model, any strides.
   * @param reference `[tokens, in]` float32: its inputs in the original model, the same tokens in the same order.
   * @throws ShapeError, DTypeError, DeviceError, DisposedError; NumericalError `NON_FINITE` (details.index: position in the
   *   tensor named; the gram is as it was). After an abort every later call throws.
   * Cost: `2 * tokens * in^2` flops.
   */
  async add(X: Tensor, reference: Tensor, options: AddOptions = {}): Promise<void> {
    try {
      await run(this.#task("CrossGram.add", X, reference), callOptions(options));
      this.#count += X.shape[0] ?? 0;
    } catch (error) {
      if (mayHaveStopped(error)) this.#broken ??= error;
      throw error;
    }
  }

  /** Like `add`, blocking. */
  addSync(X: Tensor, reference: Tensor, options: Pick<AddOptions, "label"> = {}): void {
    const task = this.#task("CrossGram.addSync", X, reference);
    try {
      runSync(task, options);
      this.#count += X.shape[0] ?? 0;
    } catch (error) {
      if (mayHaveStopped(error)) this.#broken ??= error;
      throw error;
    }
  }

  /** `2/N (X_fp - X)^T X`, `[in, in]` float64 (in <= 2048) or float32; zeros when nothing was added. The caller disposes it. */
  matrix(): Tensor {
    const fn = "CrossGram.matrix";
    this.#live(fn);
    const { shape, dtype, device } = this.#sum;
    const matrix = Tensor.empty(shape, { dtype, device });
    axpby(this.#count === 0 ? 0 : 2 / this.#count, this.#sum, 0, matrix);
    return matrix;
  }

  /** Frees the buffer. Work in progress still finishes. */
  dispose(): void {
    this.#sum.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  *#task(fn: string, X: Tensor, reference: Tensor): Task<void> {
    this.#live(fn);
    yield* accumulateCrossGram(fn, X, reference, this.#sum);
  }

  #live(fn: string): void {
    if (this.disposed) throw new DisposedError(`${fn}: the gram was disposed`);
    if (this.#broken === undefined) return;
    throw new OsculateError(
      "ABORTED",
      `${fn}: an aborted add() left this gram with a part of a batch: start a new one`,
      { cause: this.#broken },
    );
  }
}

/**
 * A cross gram for a layer with `inFeatures` inputs.
 *
 * @example
 * const [gram, cross] = [inputGram(768), crossGram(768)];
 * for await (const { X, original } of batches) {
 *   await gram.add(X);
 *   await cross.add(X, original);
 * }
 */
export function crossGram(
  inFeatures: number,
  options: { readonly device?: Device | undefined } = {},
): CrossGram {
  checkInteger("crossGram", "inFeatures", inFeatures, 0, 2 ** 31 - 1);
  return new CrossGram(inFeatures, options.device ?? "cpu");
}
