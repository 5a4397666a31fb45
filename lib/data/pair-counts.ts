import { Heap } from "./heap.js";

/** A pair of neighbouring tokens and how often it is seen. */
export interface Pair {
  readonly left: number;
  readonly right: number;
  readonly count: number;
}

interface Word {
  tokens: Int32Array;
  /** How often the word is seen. */
  readonly count: number;
}

/**
 * Words as tokens, and how often each pair of neighbours is seen in them: kept up to date merge by merge, so that a merge
 * costs the words it changes and not all of them.
 */
export class PairCounts {
  readonly #size: number;
  readonly #words: Word[] = [];
  /** By left * size + right. */
  readonly #counts = new Map<number, number>();
  /** Words a pair was seen in; some may have lost it since. */
  readonly #places = new Map<number, Set<number>>();
  /** Every pair with a count at least as large as now. */
  readonly #queue = new Heap<Pair>(
    (a, b) =>
      a.count > b.count ||
      (a.count === b.count && (a.left < b.left || (a.left === b.left && a.right < b.right))),
  );
  #started = false;

  /** @param size above every id. */
  constructor(size: number) {
    this.#size = size;
  }

  addWord(tokens: Int32Array, count: number): void {
    const word = this.#words.push({ tokens, count }) - 1;
    for (let i = 0; i + 1 < tokens.length; i++) {
      this.#change(tokens[i] ?? 0, tokens[i + 1] ?? 0, count, word);
    }
  }

  /** The pair seen most often; of several the one with the smaller left id, then the smaller right id. */
  mostFrequent(): Pair | undefined {
    if (!this.#started) {
      for (const key of this.#counts.keys()) this.#enqueue(key);
      this.#started = true;
    }
    for (;;) {
      const pair = this.#queue.pop();
      if (pair === undefined) return undefined;
      const key = pair.left * this.#size + pair.right;
      if (this.#counts.get(key) === pair.count) return pair;
      this.#enqueue(key);
    }
  }

  /** Makes `merged` of every `left`, `right`. Yields the number of words gone through, after each. */
  *merge(left: number, right: number, merged: number): Generator<number, void> {
    const key = left * this.#size + right;
    const places = this.#places.get(key) ?? new Set();
    this.#places.delete(key);
    const changed = new Set<number>();
    let done = 0;
    for (const place of places) {
      const word = this.#words[place];
      if (word) this.#mergeIn(word, place, [left, right, merged], changed);
      yield ++done;
    }
    this.#counts.delete(key);
    changed.delete(key);
    for (const pair of changed) this.#enqueue(pair);
  }

  #mergeIn(
    word: Word,
    place: number,
    [left, right, merged]: readonly [number, number, number],
    changed: Set<number>,
  ): void {
    const { tokens: before, count } = word;
    const after: number[] = [];
    for (let i = 0; i < before.length; i++) {
      const token = before[i] ?? 0;
      if (token !== left || before[i + 1] !== right) {
        after.push(token);
        continue;
      }
      after.push(merged);
      i++;
    }
    if (after.length === before.length) return;
    for (let i = 0; i + 1 < before.length; i++) {
      this.#change(before[i] ?? 0, before[i + 1] ?? 0, -count);
    }
    for (let i = 0; i + 1 < after.length; i++) {
      const [a = 0, b = 0] = [after[i], after[i + 1]];
      const key = this.#change(a, b, count, place);
      if (a === merged || b === merged) changed.add(key);
    }
    word.tokens = Int32Array.from(after);
  }

  /** Adds to a pair's count; `word`: seen there. */
  #change(left: number, right: number, count: number, word?: number): number {
    const key = left * this.#size + right;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
    if (word !== undefined) {
      const places = this.#places.get(key);
      if (places) places.add(word);
      else this.#places.set(key, new Set([word]));
    }
    return key;
  }

  #enqueue(key: number): void {
    const count = this.#counts.get(key) ?? 0;
    if (count > 0) {
      this.#queue.push({ left: Math.floor(key / this.#size), right: key % this.#size, count });
    }
  }
}
