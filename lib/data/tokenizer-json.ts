import { readFile } from "node:fs/promises";
import { z } from "zod";
import { ArgumentError, describe, expected, FormatError } from "../errors.js";
import { toIoError } from "../io/fs-errors.js";
import { writeWhole } from "../io/whole-file.js";
import { type BpeModel, BpeTokenizer } from "./bpe-tokenizer.js";
import { LETTERS, unspell } from "./byte-alphabet.js";
import { WORD_PATTERN } from "./words.js";

const MAX_BYTES = 2 ** 28;

function isPlainObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Fields that change what a tokenizer does, at the one value each that this one has. */
const absent = z.null().optional();
const empty = z.literal("").nullish();

const byteLevel = (useRegex: boolean) =>
  z.object({
    type: z.literal("ByteLevel"),
    add_prefix_space: z.literal(false),
    use_regex: useRegex ? z.literal(true).optional() : z.literal(false),
  });

const splitThenBytes = z.object({
  type: z.literal("Sequence"),
  pretokenizers: z.tuple([
    z.object({
      type: z.literal("Split"),
      pattern: z.strictObject({ Regex: z.literal(WORD_PATTERN) }),
      behavior: z.literal("Isolated"),
      invert: z.literal(false).optional(),
    }),
    byteLevel(false),
  ]),
});

const schema = z.object({
  truncation: absent,
  padding: absent,
  added_tokens: z
    .array(
      z.object({
        id: z.int().nonnegative(),
        content: z.string().min(1),
        single_word: z.literal(false).optional(),
        lstrip: z.literal(false).optional(),
        rstrip: z.literal(false).optional(),
      }),
    )
    .optional(),
  normalizer: absent,
  pre_tokenizer: z.union([byteLevel(true), splitThenBytes]),
  post_processor: z.object({ type: z.literal("ByteLevel") }).nullish(),
  decoder: z.object({ type: z.literal("ByteLevel") }),
  model: z.object({
    type: z.literal("BPE"),
    dropout: absent,
    unk_token: absent,
    continuing_subword_prefix: empty,
    end_of_word_suffix: empty,
    byte_fallback: z.literal(false).optional(),
    ignore_merges: z.literal(false).optional(),
    // As JSON.parse made it: a copy would lose a token called __proto__.
    vocab: z.custom<Record<string, unknown>>(isPlainObject, "expected an object"),
    merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  }),
});

const OTHER_KINDS =
  "This reads byte-level BPE files cut as GPT-2 cuts; huggingFaceTokenizer reads the others.";

/**
 * Writes a tokenizer as a `tokenizer.json` of Hugging Face: both `@huggingface/tokenizers` and the Rust crate read it and
 * give the same ids.
 *
 * @param path of the file; it is there whole or not at all.
 * @throws ArgumentError when it is no `BpeTokenizer`; IoError.
 */
export async function saveTokenizer(tokenizer: BpeTokenizer, path: string): Promise<void> {
  if (!(tokenizer instanceof BpeTokenizer)) {
    throw new ArgumentError(expected("saveTokenizer", "a BpeTokenizer", "tokenizer", tokenizer));
  }
  const { special, merges } = tokenizer.model;
  const spelled = tokenizer.model.tokens.map((_, id) => tokenizer.token(id) ?? "");
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const file = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [...special].map(([content, id]) => ({ id, content, ...flags, special: true })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      // Not the pattern inside ByteLevel, which the two readers take for different kinds of white space.
      pretokenizers: [
        { type: "Split", pattern: { Regex: WORD_PATTERN }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(spelled.map((token, id) => [token, id])),
      merges: merges.map(([left, right]) => [spelled[left], spelled[right]]),
    },
  };
  await writeWhole(path, `${JSON.stringify(file, undefined, 1)}\n`);
}

/**
 * Reads a `tokenizer.json` that `saveTokenizer` wrote, or any other byte-level BPE cut as GPT-2 cuts.
 *
 * @throws IoError when the file is missing or cannot be read; FormatError when it is malformed or of another kind.
 */
export async function loadTokenizer(path: string): Promise<BpeTokenizer> {
  const text = await readTokenizerFile("loadTokenizer", path);
  try {
    return new BpeTokenizer(parseModel(parseJson(text)));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new FormatError(`loadTokenizer: ${path}: ${cause.message}`, { details: { path }, cause });
  }
}

/** The text of a tokenizer file. @throws IoError that calls it that when it is missing. */
export async function readTokenizerFile(fn: string, path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw toIoError(fn, "read the tokenizer file", path, cause);
  }
  if (bytes.length > MAX_BYTES) {
    throw new FormatError(expected(fn, `at most ${MAX_BYTES} bytes`, path, bytes.length));
  }
  return bytes.toString("utf8");
}

function fail(what: string, name: string, received: unknown): never {
  throw new FormatError(`expected ${what} for ${name} but received ${describe(received)}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`expected JSON: ${(cause as Error).message}`, { cause });
  }
}

function parseModel(json: unknown): BpeModel {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue?.path.join(".") ?? "";
    throw new FormatError(`${issue?.message ?? "malformed"} at "${where}". ${OTHER_KINDS}`);
  }
  const { added_tokens: added = [], model } = parsed.data;
  const special = new Map(added.map(({ content, id }) => [content, id]));
  if (special.size < added.length) fail("each token once", "added_tokens", added.length);
  const spelled = spellings(new Map(Object.entries(model.vocab)), special);
  const tokens = spelled.map((token) =>
    special.has(token) ? new TextEncoder().encode(token) : (unspell(token) ?? notSpelled(token)),
  );
  const idOf = new Map(spelled.map((token, id) => [token, id]));
  for (const letter of LETTERS) if (!idOf.has(letter)) fail("all 256 bytes", "vocab", letter);
  return { tokens, merges: parseMerges(model.merges, idOf, special), special };
}

function notSpelled(token: string): never {
  fail("tokens in letters for bytes", "vocab", token);
}

/** Tokens by id: vocabulary and added tokens together are 0 ... n - 1, each once. */
function spellings(
  vocab: ReadonlyMap<string, unknown>,
  special: ReadonlyMap<string, number>,
): string[] {
  const all = new Map<string, unknown>([...vocab, ...special]);
  const spelled: string[] = [];
  for (const [token, id] of all) {
    if (vocab.has(token) && vocab.get(token) !== id)
      fail(`id ${describe(vocab.get(token))}`, token, id);
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= all.size) {
      fail(`ids from 0 to ${all.size - 1}`, `token ${describe(token)}`, id);
    }
    if (spelled[id] !== undefined) fail("each id once", `token ${describe(token)}`, id);
    spelled[id] = token;
  }
  return spelled;
}

function parseMerges(
  merges: readonly (string | readonly [string, string])[],
  idOf: ReadonlyMap<string, number>,
  special: ReadonlyMap<string, number>,
): [number, number, number][] {
  const seen = new Set<string>();
  return merges.map((merge, i) => {
    const halves = typeof merge === "string" ? merge.split(" ") : merge;
    const [left = "", right = ""] = halves;
    const ids = [left, right, left + right].map((token) =>
      special.has(token) ? undefined : idOf.get(token),
    );
    const [a, b, merged] = ids;
    const name = `merges[${i}]`;
    if (halves.length !== 2 || a === undefined || b === undefined || merged === undefined) {
      fail("two tokens that make a third, none of them special,", name, merge);
    }
    const key = `${a} ${b}`;
    if (seen.has(key)) fail("each merge once", name, merge);
    seen.add(key);
    return [a, b, merged];
  });
}
