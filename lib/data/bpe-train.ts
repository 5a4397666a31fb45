import type { Progress } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { TimeSlice } from "../io/event-loop.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { checkInteger } from "../ops/check.js";
import { END_OF_TEXT, type BpeModel, BpeTokenizer } from "./bpe-tokenizer.js";
import { BYTES_BY_LETTER, spell, unspell } from "./byte-alphabet.js";
import { PairCounts } from "./pair-counts.js";
import { checkText } from "./tokenizer.js";
import { wordEnds } from "./words.js";

export interface TrainBpeOptions {
  /** Tokens to learn, special ones and the 256 bytes included: at least those, at most 2^21. */
  readonly vocabSize: number;
  /** A pair seen less often becomes no token; default 2. The vocabulary then ends early. */
  readonly minFrequency?: number | undefined;
  /** Tokens that stand for themselves; they get the first ids. Default `["<|endoftext|>"]`. */
  readonly specialTokens?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Tokens so far, of `vocabSize`, at most every 50 ms while merges are learned. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

const CHECK_EVERY = 256;

/**
 * Learns a byte-level BPE vocabulary: again and again the pair of neighbouring tokens that is seen most often in the words of
 * the texts becomes a token; of pairs seen equally often that of the smaller left id, then of the smaller right id. The same
 * texts give the same vocabulary, in whatever order they come. Ids: special tokens, the 256 bytes in the order of their
 * letters (U+0021 first), merges as they were learned.
 *
 * @param texts read once. Memory: that of their distinct words.
 * @throws ArgumentError, OsculateError "ABORTED". Source: Sennrich, Haddow, Birch, 2016, algorithm 1.
 *
 * @example
 * const tokenizer = await trainBpe(["low lower lowest"], { vocabSize: 260 });
 * tokenizer.token(257); // "lo", seen three times
 */
export async function trainBpe(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainBpeOptions,
): Promise<BpeTokenizer> {
  const fn = "trainBpe";
  const { vocabSize, minFrequency = 2, specialTokens = [END_OF_TEXT], signal } = options;
  checkSpecial(fn, specialTokens);
  checkInteger(fn, "vocabSize", vocabSize, 256 + specialTokens.length, 2 ** 21);
  checkInteger(fn, "minFrequency", minFrequency, 1, Number.MAX_SAFE_INTEGER);
  throwIfAborted(fn, signal);

  const words = await countWords(fn, texts, signal);
  const model = startingModel(specialTokens);
  const idOfByte = new Int32Array(256);
  BYTES_BY_LETTER.forEach((byte, i) => (idOfByte[byte] = specialTokens.length + i));

  const slice = new TimeSlice();
  const pairs = new PairCounts(vocabSize);
  let added = 0;
  for (const [word, count] of words) {
    pairs.addWord(
      Int32Array.from(Buffer.from(word), (byte) => idOfByte[byte] ?? 0),
      count,
    );
    if (++added % CHECK_EVERY === 0 && slice.due()) await slice.pause(fn, signal);
  }
  words.clear();

  let reported = performance.now();
  while (model.tokens.length < vocabSize) {
    const best = pairs.mostFrequent();
    if (best === undefined || best.count < minFrequency) break;
    const merged = model.tokens.length;
    const halves = [best.left, best.right].map((id) => model.tokens[id] ?? new Uint8Array());
    const bytes = new Uint8Array(Buffer.concat(halves));
    // A file tells tokens apart by their spelling alone.
    if (model.special.has(spell(bytes))) continue;
    model.tokens.push(bytes);
    model.merges.push([best.left, best.right, merged]);
    for (const done of pairs.merge(best.left, best.right, merged)) {
      if (done % CHECK_EVERY === 0 && slice.due()) await slice.pause(fn, signal);
    }
    if (slice.due()) await slice.pause(fn, signal);
    if (performance.now() - reported > 50) {
      options.onProgress?.({ done: model.tokens.length, total: vocabSize });
      reported = performance.now();
    }
  }
  return new BpeTokenizer(model);
}

function checkSpecial(fn: string, tokens: readonly string[]): void {
  tokens.forEach((token, i) => {
    const name = `specialTokens[${i}]`;
    if (typeof token !== "string" || token === "") {
      throw new ArgumentError(expected(fn, "a string that is not empty", name, token));
    }
    if (unspell(token)?.length === 1) {
      throw new ArgumentError(
        expected(fn, "a token that is not the letter of a byte", name, token),
      );
    }
    if (tokens.indexOf(token) !== i) {
      throw new ArgumentError(expected(fn, "each token once", name, token));
    }
  });
}

function startingModel(specialTokens: readonly string[]) {
  const special = specialTokens.map((token) => new TextEncoder().encode(token));
  return {
    tokens: [...special, ...BYTES_BY_LETTER.map((byte) => Uint8Array.of(byte))],
    merges: [] as [number, number, number][],
    special: new Map(specialTokens.map((token, id) => [token, id])),
  } satisfies BpeModel;
}

async function countWords(
  fn: string,
  texts: Iterable<string> | AsyncIterable<string>,
  signal: AbortSignal | undefined,
): Promise<Map<string, number>> {
  const words = new Map<string, number>();
  const slice = new TimeSlice();
  for await (const text of texts) {
    checkText(fn, text);
    let start = 0;
    let found = 0;
    for (const end of wordEnds(text)) {
      if (end !== undefined) {
        const word = text.slice(start, end);
        words.set(word, (words.get(word) ?? 0) + 1);
        start = end;
        if (++found % CHECK_EVERY !== 0) continue;
      }
      if (slice.due()) await slice.pause(fn, signal);
    }
  }
  return words;
}
