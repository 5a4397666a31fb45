import { spell } from "./byte-alphabet.js";
import { MergeTable, WordMerge } from "./bpe-merges.js";
import {
  checkText,
  decodeBytes,
  type EncodeOptions,
  IdList,
  runInSlices,
  runSync,
  type Steps,
  type Tokenizer,
} from "./tokenizer.js";
import { utf8 } from "./utf8.js";
import { wordEnds } from "./words.js";

/** A byte-level BPE vocabulary. */
export interface BpeModel {
  /** The bytes of every token, by id. The 256 single bytes are all there, each token once. */
  readonly tokens: readonly Uint8Array[];
  /** `[left, right, merged]`, ids; the merge to do first stands first. */
  readonly merges: readonly (readonly [number, number, number])[];
  /** Tokens that stand for themselves wherever their text occurs, and are never merged. */
  readonly special: ReadonlyMap<string, number>;
}

export const END_OF_TEXT = "<|endoftext|>";

/** Longer words are not remembered, and are merged in steps. */
const SHORT = 64;
const MAX_REMEMBERED = 1 << 16;
const WORDS_A_STEP = 64;
const MERGES_A_STEP = 4096;

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/**
 * Byte-level byte-pair encoding (Sennrich, Haddow, Birch, 2016; over bytes and with the cut into words of GPT-2). Any text
 * has tokens, and `decode(encode(text))` is the text again, half surrogate pairs aside.
 *
 * Made by `trainBpe` or `loadTokenizer`. The ids are those that `@huggingface/tokenizers` gives with the same file.
 */
export class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  /** @internal */
  readonly model: BpeModel;
  readonly #table: MergeTable;
  readonly #idOfByte = new Int32Array(256);
  readonly #special: RegExp | undefined;
  readonly #remembered = new Map<string, Int32Array>();

  /** @internal The model must hold what `BpeModel` says. */
  constructor(model: BpeModel) {
    this.model = model;
    this.vocabSize = model.tokens.length;
    this.endOfText = model.special.get(END_OF_TEXT);
    this.#table = new MergeTable(model.tokens.length, model.merges);
    const special = new Set(model.special.values());
    model.tokens.forEach((bytes, id) => {
      if (bytes.length === 1 && !special.has(id)) this.#idOfByte[bytes[0] ?? 0] = id;
    });
    // The longest of several that start at one place.
    const longestFirst = [...model.special.keys()].sort((a, b) => b.length - a.length);
    if (longestFirst.length > 0)
      this.#special = new RegExp(longestFirst.map(escaped).join("|"), "g");
  }

  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    return runInSlices("BpeTokenizer.encode", this.#steps(text), options.signal);
  }

  encodeSync(text: string): Int32Array {
    return runSync(this.#steps(text));
  }

  decode(ids: ArrayLike<number>): string {
    return decodeBytes("BpeTokenizer.decode", this.model.tokens, ids);
  }

  /** How files spell a token: a special one as it is, the others in letters for bytes (a space is Ġ). */
  token(id: number): string | undefined {
    const bytes = this.model.tokens[id];
    if (bytes === undefined) return undefined;
    for (const [text, special] of this.model.special) if (special === id) return text;
    return spell(bytes);
  }

  *#steps(text: string): Steps<Int32Array> {
    checkText("BpeTokenizer.encode", text);
    const ids = new IdList();
    let start = 0;
    if (this.#special) {
      for (const { 0: special, index } of text.matchAll(this.#special)) {
        yield* this.#encodePlain(text.slice(start, index), ids);
        ids.push(this.model.special.get(special) ?? 0);
        start = index + special.length;
      }
    }
    yield* this.#encodePlain(text.slice(start), ids);
    return ids.ids();
  }

  *#encodePlain(text: string, ids: IdList): Steps<void> {
    let start = 0;
    let words = 0;
    for (const end of wordEnds(text)) {
      if (end === undefined) {
        yield;
        continue;
      }
      const word = text.slice(start, end);
      start = end;
      const known = this.#remembered.get(word);
      ids.append(known ?? (yield* this.#encodeWord(word)));
      if (++words % WORDS_A_STEP === 0) yield;
    }
  }

  *#encodeWord(word: string): Steps<Int32Array> {
    const bytes = yield* utf8(word);
    const ids = new Int32Array(bytes.length);
    for (let i = 0; i < ids.length; i++) ids[i] = this.#idOfByte[bytes[i] ?? 0] ?? 0;
    const merge = new WordMerge(this.#table, ids);
    while (!merge.run(MERGES_A_STEP)) yield;
    const tokens = merge.tokens();
    if (bytes.length > MERGES_A_STEP) yield;
    if (word.length <= SHORT) {
      if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
      // A slice of the text would keep the whole text alive.
      this.#remembered.set(Buffer.from(bytes).toString(), tokens);
    }
    return tokens;
  }
}
