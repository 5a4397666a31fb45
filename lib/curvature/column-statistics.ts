import { type Device, run, runSync, type Task } from "../binding/index.js";
import { DisposedError, OsculateError } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { accumulateColumns, newColumnSums } from "../ops/column-statistics.js";
import { type Tensor, keep } from "../tensor/index.js";
import { type AddOptions, callOptions, mayHaveStopped } from "./gram-state.js";

/** What each input of a layer looks like over the tokens. */
export interface ColumnMoments {
  /** `[in]` mean of x^2: half of diag H, H = 2/N X^T X. */
  readonly meanSquare: Float64Array;
  /** `[in]` mean of |x|. */
  readonly meanAbs: Float64Array;
  /** `[in]` largest |x|. */
  readonly maxAbs: Float32Array;
}

/**
 * Moments of each of a layer's inputs, gathered batch by batch: what Wanda, SmoothQuant and AWQ need, in O(in) memory.
 *
 * Each column is one float64 sum in the order of the tokens: how they were cut into batches does not matter.
 */
export class ColumnStatistics {
  readonly #sums;
  #count = 0;
  #broken: unknown;

  /** @internal Use `columnStatistics`. */
  constructor(
    readonly inFeatures: number,
    readonly device: Device,
  ) {
    this.#sums = newColumnSums(inFeatures, device);
    for (const sum of Object.values(this.#sums) as Tensor[]) keep(sum);
  }

  /** Tokens added so far (calls of `add` that are still running not counted). */
  get count(): number {
    return this.#count;
  }

  get disposed(): boolean {
    return this.#sums.largest.disposed;
  }

  /**
   * Adds a batch. Calls are done in order. The values of X must not change until the promise settles.
   *
   * @param X `[tokens, in]` float32, any strides, on the statistics' device; 0 tokens are allowed.
   * @throws ShapeError, DTypeError, DeviceError, DisposedError; NumericalError `NON_FINITE` (details.index: row-major position
   *   in X; the statistics are as they were). After an abort during the work every later call throws.
   */
  async add(X: Tensor, options: AddOptions = {}): Promise<void> {
    try {
      await run(this.#add("ColumnStatistics.add", X), callOptions(options));
      this.#count += X.shape[0] ?? 0;
    } catch (error) {
      if (mayHaveStopped(error)) this.#broken ??= error;
      throw error;
    }
  }

  /** Like `add`, blocking. */
  addSync(X: Tensor, options: Pick<AddOptions, "label"> = {}): void {
    try {
      runSync(this.#add("ColumnStatistics.addSync", X), options);
      this.#count += X.shape[0] ?? 0;
    } catch (error) {
      if (mayHaveStopped(error)) this.#broken ??= error;
      throw error;
    }
  }

  /** The moments of everything added so far; zeros when nothing was. */
  async moments(): Promise<ColumnMoments> {
    const { squares, magnitudes, largest } = this.#live("ColumnStatistics.moments");
    const count = this.#count;
    const [a, b, maxAbs] = await Promise.all([squares.data(), magnitudes.data(), largest.data()]);
    return this.#moments(count, a as Float64Array, b as Float64Array, maxAbs);
  }

  /** Like `moments`, blocking. */
  momentsSync(): ColumnMoments {
    const { squares, magnitudes, largest } = this.#live("ColumnStatistics.momentsSync");
    const [a, b] = [squares.dataSync() as Float64Array, magnitudes.dataSync() as Float64Array];
    return this.#moments(this.#count, a, b, largest.dataSync());
  }

  /** Frees the buffers. Work in progress still finishes. */
  dispose(): void {
    for (const sum of Object.values(this.#sums) as Tensor[]) sum.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  *#add(fn: string, X: Tensor): Task<void> {
    yield* accumulateColumns(fn, X, this.#live(fn));
  }

  #moments(
    count: number,
    squares: Float64Array,
    magnitudes: Float64Array,
    maxAbs: Float32Array,
  ): ColumnMoments {
    const mean = (sum: number) => (count === 0 ? 0 : sum / count);
    return { meanSquare: squares.map(mean), meanAbs: magnitudes.map(mean), maxAbs };
  }

  #live(fn: string) {
    if (this.disposed) throw new DisposedError(`${fn}: the statistics were disposed`);
    if (this.#broken === undefined) return this.#sums;
    throw new OsculateError(
      "ABORTED",
      `${fn}: an aborted add() left these statistics with a part of a batch: start new ones`,
      { cause: this.#broken },
    );
  }
}

/**
 * Statistics for a layer with `inFeatures` inputs.
 *
 * @example
 * const statistics = columnStatistics(768);
 * for await (const X of batches) await statistics.add(X); // [tokens, 768] float32
 * const { maxAbs } = await statistics.moments();
 */
export function columnStatistics(
  inFeatures: number,
  options: { readonly device?: Device | undefined } = {},
): ColumnStatistics {
  checkInteger("columnStatistics", "inFeatures", inFeatures, 0, 2 ** 31 - 1);
  return new ColumnStatistics(inFeatures, options.device ?? "cpu");
}
