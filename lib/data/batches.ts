import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { EpochOrder } from "./epoch-order.js";

export interface BatchOptions {
  /** Examples a batch, >= 1. */
  readonly batchSize: number;
  /** A new random order every epoch; default true. Without it every epoch runs from the first example to the last. */
  readonly shuffle?: boolean | undefined;
  /** Of the orders, 0 to 2^53 - 1; default 0. */
  readonly seed?: number | undefined;
  /** Leave out the last batch of an epoch when it is smaller than the others; default false. */
  readonly dropLast?: boolean | undefined;
}

/** Which batch comes next, and of what: plain data, safe to write as JSON. */
export interface BatchState {
  readonly epoch: number;
  /** Within the epoch, from 0. */
  readonly batch: number;
  readonly count: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropLast: boolean;
}

/**
 * Batches of a dataset, epoch after epoch. The order of an epoch is a function of (seed, epoch) alone, so that a run that is
 * stopped and resumed from `stateDict()` sees the very batches an uninterrupted run sees.
 *
 * @example
 * const batches = new Batches(4, (indices) => [...indices], { batchSize: 2, shuffle: false });
 * for (const batch of batches) console.log(batch); // [0, 1], then [2, 3]: one epoch
 * batches.epoch; // 1
 */
export class Batches<T> {
  /** Examples in the dataset. */
  readonly count: number;
  readonly batchesPerEpoch: number;
  readonly #collate: (indices: Uint32Array) => T;
  readonly #options: Required<{ [K in keyof BatchOptions]: NonNullable<BatchOptions[K]> }>;
  #epoch = 0;
  #batch = 0;
  #order: EpochOrder | undefined;

  /**
   * @param count examples in the dataset, 1 to 2^32 - 1.
   * @param collate makes a batch of the examples with these indices. It must depend on them alone.
   * @throws ArgumentError, also when `dropLast` leaves no batch.
   */
  constructor(count: number, collate: (indices: Uint32Array) => T, options: BatchOptions) {
    const fn = "Batches";
    const { batchSize, shuffle = true, seed = 0, dropLast = false } = options;
    checkInteger(fn, "count", count, 1, 2 ** 32 - 1);
    checkInteger(fn, "batchSize", batchSize, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
    if (dropLast && batchSize > count) {
      throw new ArgumentError(
        expected(
          fn,
          `at most the ${count} examples there are, with dropLast,`,
          "batchSize",
          batchSize,
        ),
      );
    }
    this.count = count;
    this.batchesPerEpoch = dropLast ? Math.floor(count / batchSize) : Math.ceil(count / batchSize);
    this.#collate = collate;
    this.#options = { batchSize, shuffle, seed, dropLast };
  }

  /** Of the next batch, from 0. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The next batch's place in its epoch, from 0. */
  get batch(): number {
    return this.#batch;
  }

  /** The next batch; after the last of an epoch the first of the next one. When `collate` throws, nothing has moved on. */
  next(): T {
    const start = this.#batch * this.#options.batchSize;
    const batch = this.#collate(
      this.#indices(start, Math.min(start + this.#options.batchSize, this.count)),
    );
    if (++this.#batch === this.batchesPerEpoch) this.#moveTo(this.#epoch + 1, 0);
    return batch;
  }

  /** The rest of the current epoch. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    const { epoch } = this;
    while (this.epoch === epoch) yield this.next();
  }

  stateDict(): BatchState {
    return { epoch: this.#epoch, batch: this.#batch, count: this.count, ...this.#options };
  }

  /**
   * Goes on where `stateDict()` was taken.
   *
   * @throws ArgumentError when the state is of another dataset or other options, or is not a state.
   */
  loadStateDict(state: BatchState): void {
    const fn = "Batches.loadStateDict";
    const own = this.stateDict();
    for (const name of ["count", "batchSize", "shuffle", "seed", "dropLast"] as const) {
      if (state[name] !== own[name]) {
        throw new ArgumentError(expected(fn, String(own[name]), name, state[name]));
      }
    }
    checkInteger(fn, "epoch", state.epoch, 0, 2 ** 32 - 1);
    checkInteger(fn, "batch", state.batch, 0, this.batchesPerEpoch - 1);
    this.#moveTo(state.epoch, state.batch);
  }

  #moveTo(epoch: number, batch: number): void {
    if (epoch !== this.#epoch) this.#order = undefined;
    this.#epoch = epoch;
    this.#batch = batch;
  }

  #indices(start: number, end: number): Uint32Array {
    if (!this.#options.shuffle)
      return Uint32Array.from({ length: end - start }, (_, i) => start + i);
    this.#order ??= new EpochOrder(this.#options.seed, this.#epoch, this.count);
    return this.#order.slice(start, end);
  }
}
