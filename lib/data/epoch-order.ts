import { philox } from "./philox.js";

/** Marks these blocks, where the kernels put the kind of a number: the two never share one. */
const SHUFFLE_KIND = 0x80;

/**
 * A uniformly random order of 0 ... count - 1 that depends on (seed, epoch) alone.
 *
 * The Fisher-Yates shuffle from the front, drawn no further than asked for: step i exchanges place i with place
 * `i + floor(u_i (count - i))`, u_i a multiple of 2^-53 from two words of a counter-based generator. Starting anywhere costs
 * one draw for each place before it, and no state but the position has to be saved.
 */
export class EpochOrder {
  readonly #order: Uint32Array;
  readonly #seed: readonly [number, number];
  readonly #epoch: number;
  readonly #block = new Uint32Array(4);
  #drawn = 0;

  /** @param seed 0 to 2^53 - 1; @param epoch 0 to 2^32 - 1; @param count below 2^32. */
  constructor(seed: number, epoch: number, count: number) {
    this.#order = Uint32Array.from({ length: count }, (_, i) => i);
    this.#seed = [seed >>> 0, Math.floor(seed / 2 ** 32)];
    this.#epoch = epoch;
  }

  /** The places `start <= i < end` of the order. The array is the caller's. */
  slice(start: number, end: number): Uint32Array {
    const order = this.#order;
    for (; this.#drawn < end; this.#drawn++) {
      const i = this.#drawn;
      const j = i + Math.floor(this.#uniform(i) * (order.length - i));
      const held = order[i] ?? 0;
      order[i] = order[j] ?? 0;
      order[j] = held;
    }
    return order.slice(start, end);
  }

  /** Number i in [0, 1): words 2 (i mod 2) and the next of block i / 2. Asked for in rising order from 0. */
  #uniform(i: number): number {
    const block = this.#block;
    if (i % 2 === 0) {
      block.set([i / 2, SHUFFLE_KIND << 24, this.#epoch, 0]);
      philox(block, ...this.#seed);
    }
    const at = 2 * (i % 2);
    return ((block[at] ?? 0) * 2 ** 21 + ((block[at + 1] ?? 0) >>> 11)) / 2 ** 53;
  }
}
