import { Heap } from "./heap.js";

/** Which pairs of tokens become one, and which first: the merge learned first has rank 0. */
export class MergeTable {
  readonly #rank = new Map<number, number>();
  readonly #merged: readonly number[];
  readonly #size: number;

  /**
   * @param size of the vocabulary, below 2^26.
   * @param merges `[left, right, merged]`, ids, by rank.
   */
  constructor(size: number, merges: readonly (readonly [number, number, number])[]) {
    this.#size = size;
    this.#merged = merges.map(([, , merged]) => merged);
    merges.forEach(([left, right], rank) => {
      this.#rank.set(left * size + right, rank);
    });
  }

  /** The rank of a pair, -1 when it is never merged. */
  rank(left: number, right: number): number {
    return this.#rank.get(left * this.#size + right) ?? -1;
  }

  /** The token that the merge of this rank makes. */
  merged(rank: number): number {
    return this.#merged[rank] ?? 0;
  }
}

/** Places are below this; a rank times this plus a place is exact. */
const PLACES = 2 ** 31;

/**
 * One word on its way from bytes to tokens: of all pairs with a merge the one of lowest rank is merged, of equal ones the
 * leftmost, until none is left. O(n log n) for n bytes.
 */
export class WordMerge {
  readonly #table: MergeTable;
  /** The token at each place; -1: merged into the one before. */
  readonly #ids: Int32Array;
  readonly #previous: Int32Array;
  readonly #next: Int32Array;
  /** rank * PLACES + place of the pair's left half. */
  readonly #queue = new Heap<number>((a, b) => a < b);
  /** Pairs queued so far. */
  #queued = 0;
  #length: number;

  /** @param ids the tokens of single bytes; written to. */
  constructor(table: MergeTable, ids: Int32Array) {
    this.#table = table;
    this.#ids = ids;
    this.#length = ids.length;
    this.#previous = new Int32Array(ids.length);
    this.#next = new Int32Array(ids.length);
  }

  /** Does up to `steps` steps; true when the word is done. */
  run(steps: number): boolean {
    for (let step = 0; step < steps; step++) {
      if (this.#queued < this.#ids.length) {
        const place = this.#queued++;
        this.#previous[place] = place - 1;
        this.#next[place] = place + 1;
        this.#enqueue(place);
        continue;
      }
      const first = this.#queue.pop();
      if (first === undefined) return true;
      const rank = Math.floor(first / PLACES);
      const place = first % PLACES;
      // Either half may have been merged since.
      if (this.#rankAt(place) === rank) this.#merge(place, rank);
    }
    return false;
  }

  /** The tokens left. */
  tokens(): Int32Array {
    const tokens = new Int32Array(this.#length);
    for (let place = 0, i = 0; place < this.#ids.length; place = this.#next[place] ?? 0) {
      tokens[i++] = this.#ids[place] ?? 0;
    }
    return tokens;
  }

  #rankAt(place: number): number {
    const next = this.#next[place] ?? 0;
    if (this.#ids[place] === -1 || next >= this.#ids.length) return -1;
    return this.#table.rank(this.#ids[place] ?? 0, this.#ids[next] ?? 0);
  }

  #enqueue(place: number): void {
    const rank = this.#rankAt(place);
    if (rank >= 0) this.#queue.push(rank * PLACES + place);
  }

  #merge(place: number, rank: number): void {
    const gone = this.#next[place] ?? 0;
    const after = this.#next[gone] ?? 0;
    this.#ids[place] = this.#table.merged(rank);
    this.#ids[gone] = -1;
    this.#next[place] = after;
    if (after < this.#ids.length) this.#previous[after] = place;
    this.#length--;
    const before = this.#previous[place] ?? -1;
    if (before >= 0) this.#enqueue(before);
    this.#enqueue(place);
  }
}
