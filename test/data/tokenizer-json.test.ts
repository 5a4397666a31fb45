import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, FormatError, IoError } from "../../lib/errors.js";
import type { BpeTokenizer } from "../../lib/data/bpe-tokenizer.js";
import { trainBpe } from "../../lib/data/bpe-train.js";
import { huggingFaceTokenizer } from "../../lib/data/huggingface-tokenizer.js";
import { mobyDick } from "../../lib/data/text.js";
import { loadTokenizer, saveTokenizer } from "../../lib/data/tokenizer-json.js";
import { longestPause } from "../helpers/longest-pause.js";
import { readVectors } from "../helpers/vectors.js";

interface Peer {
  encode(text: string): { ids: number[] };
  decode(ids: number[], options: object): string;
}
const { Tokenizer } = jest.requireActual<{ Tokenizer: new (file: object, config: object) => Peer }>(
  "@huggingface/tokenizers",
);

const folder = mkdtempSync(join(tmpdir(), "osculate-tokenizer-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const at = (name: string) => join(folder, name);

let tokenizer: BpeTokenizer;
let book: string;
const path = at("tokenizer.json");
beforeAll(async () => {
  book = await mobyDick();
  // The last of them is dangerous as a key.
  const specialTokens = ["<|endoftext|>", "<|pad|>", "__proto__"];
  tokenizer = await trainBpe([book.slice(0, 200_000)], { vocabSize: 600, specialTokens });
  await saveTokenizer(tokenizer, path);
});

const samples = readVectors<{ samples: { text: string }[] }>("bpe.json").samples.map((s) => s.text);
const text = fc.oneof(
  fc.constantFrom(...samples),
  fc.string({ unit: "binary" }),
  fc
    .array(fc.constantFrom(...Array.from("ab '\n \u0085\ufeff1é"), "<|pad|>", "__proto__", "'ll"))
    .map((parts) => parts.join("")),
);

describe("the file", () => {
  test("comes back as the same tokenizer", async () => {
    const loaded = await loadTokenizer(path);
    expect(loaded.model).toEqual(tokenizer.model);
    expect([loaded.vocabSize, loaded.endOfText]).toEqual([600, 0]);
    expect([...loaded.encodeSync("a__proto__")].at(-1)).toBe(2);
  });

  test("gives the same ids in @huggingface/tokenizers", () => {
    const peer = new Tokenizer(JSON.parse(readFileSync(path, "utf8")) as object, {});
    fc.assert(
      fc.property(text, (sample) => {
        const ids = [...tokenizer.encodeSync(sample)];
        expect(peer.encode(sample).ids).toEqual(ids);
        if (ids.length === 0) return;
        const options = { clean_up_tokenization_spaces: false, skip_special_tokens: false };
        expect(peer.decode(ids, options)).toBe(sample);
      }),
      { numRuns: 300 },
    );
  });

  test("may hold merges as text and GPT-2's own cut", async () => {
    const file = JSON.parse(readFileSync(path, "utf8")) as {
      pre_tokenizer: object;
      post_processor: object;
      model: { merges: [string, string][] };
    };
    file.pre_tokenizer = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
    file.post_processor = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false };
    const gpt2 = {
      ...file,
      model: { ...file.model, merges: file.model.merges.map((m) => m.join(" ")) },
    };
    writeFileSync(at("gpt2.json"), JSON.stringify(gpt2));
    expect((await loadTokenizer(at("gpt2.json"))).model).toEqual(tokenizer.model);
  });

  test("only a BpeTokenizer can be saved, only where there is a folder", async () => {
    await expect(saveTokenizer({} as never, at("x.json"))).rejects.toThrow(ArgumentError);
    await expect(saveTokenizer(tokenizer, at("none/x.json"))).rejects.toThrow(IoError);
  });
});

describe("loadTokenizer refuses", () => {
  test("a missing file, by name", async () => {
    const error = await loadTokenizer(at("none.json")).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(IoError);
    expect((error as Error).message).toMatch(
      /could not read the tokenizer file .*none\.json: no such/,
    );
  });

  type File = Record<string, unknown> & { model: Record<string, unknown> };
  const vocabOf = (file: File) => file.model["vocab"] as Record<string, unknown>;
  const mergesOf = (file: File) => file.model["merges"] as unknown[];

  test.each<[string, (file: File) => unknown, RegExp]>([
    [
      "another model",
      (f) => (f.model["type"] = "Unigram"),
      /"BPE".*model\.type.*huggingFaceTokenizer/,
    ],
    ["dropout", (f) => (f.model["dropout"] = 0.1), /model\.dropout/],
    ["byte fallback", (f) => (f.model["byte_fallback"] = true), /model\.byte_fallback/],
    ["whole words before merges", (f) => (f.model["ignore_merges"] = true), /model\.ignore_merges/],
    ["a normalizer", (f) => (f["normalizer"] = { type: "NFC" }), /at "normalizer"/],
    ["another cut", (f) => (f["pre_tokenizer"] = { type: "Whitespace" }), /at "pre_tokenizer"/],
    [
      "a prefix space",
      (f) => (f["pre_tokenizer"] = { type: "ByteLevel", add_prefix_space: true }),
      /pre_tok/,
    ],
    ["a template", (f) => (f["post_processor"] = { type: "BertProcessing" }), /at "post_processor/],
    ["another decoder", (f) => (f["decoder"] = { type: "WordPiece" }), /at "decoder/],
    ["no vocabulary", (f) => (f.model["vocab"] = null), /object at "model\.vocab"/],
    ["a list for a vocabulary", (f) => (f.model["vocab"] = ["a"]), /object at "model\.vocab"/],
    [
      "a token without a byte",
      (f) => delete vocabOf(f)["Ā"],
      /ids from 0 to|each id once|256 bytes/,
    ],
    ["an id of text", (f) => (vocabOf(f)["a"] = "97"), /ids from 0 to 599/],
    ["an id twice", (f) => (vocabOf(f)["a"] = vocabOf(f)["b"]), /each id once/],
    ["an id past the end", (f) => (vocabOf(f)["a"] = 600), /ids from 0 to 599/],
    ["a huge id", (f) => (vocabOf(f)["a"] = 1e300), /ids from 0 to 599/],
    ["a token in no alphabet", (f) => (vocabOf(f)["日"] = 600), /letters for bytes/],
    ["a merge of three", (f) => mergesOf(f).push("a b c"), /two tokens/],
    ["a merge of unknown tokens", (f) => mergesOf(f).push(["日", "a"]), /two tokens/],
    [
      "a merge into an unknown token",
      (f) => mergesOf(f).push(["!", "~"]),
      /two tokens that make a third/,
    ],
    ["a merge twice", (f) => mergesOf(f).push(mergesOf(f)[0]), /each merge once/],
    ["a merge of a number", (f) => mergesOf(f).push(7), /model\.merges/],
    [
      "an added token twice",
      (f) => (f["added_tokens"] as unknown[]).push({ id: 1, content: "<|pad|>" }),
      /once/,
    ],
    [
      "an added token with another id",
      (f) => (f["added_tokens"] = [{ id: 5, content: "<|pad|>" }]),
      /id 1/,
    ],
    [
      "an added token that eats spaces",
      (f) => (f["added_tokens"] = [{ id: 1, content: "<|pad|>", lstrip: true }]),
      /lstrip/,
    ],
  ])("%s", async (_, change, message) => {
    const file = JSON.parse(readFileSync(path, "utf8")) as File;
    change(file);
    writeFileSync(at("bad.json"), JSON.stringify(file));
    const error = await loadTokenizer(at("bad.json")).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain("bad.json");
  });

  test.each(["", "{", "\u0000", "null", "nope", "[1]", "{}"])("%j", async (content) => {
    writeFileSync(at("bad.json"), content);
    await expect(loadTokenizer(at("bad.json"))).rejects.toThrow(FormatError);
  });
});

describe("huggingFaceTokenizer", () => {
  test("reads our file: the same ids, here and in its thread", async () => {
    const peer = await huggingFaceTokenizer(path);
    expect([peer.vocabSize, peer.endOfText]).toEqual([600, 0]);
    const results = await Promise.all(samples.map(async (sample) => peer.encode(sample)));
    samples.forEach((sample, i) => {
      const ids = tokenizer.encodeSync(sample);
      expect(results[i]).toEqual(ids);
      expect(peer.encodeSync(sample)).toEqual(ids);
      expect(peer.decode(ids)).toBe(sample);
    });
    expect(() => peer.decode([600])).toThrow(/an id of the vocabulary for ids\[0\]/);
    expect(() => peer.encodeSync(7 as never)).toThrow(ArgumentError);
  });

  test("reads kinds that loadTokenizer does not, and the config beside them", async () => {
    const kind = mkdtempSync(join(folder, "kind-"));
    const vocab = { "[UNK]": 0, hello: 1, "##s": 2, "[END]": 3 };
    const model = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab };
    const file = {
      added_tokens: [],
      normalizer: { type: "Lowercase" },
      pre_tokenizer: { type: "Whitespace" },
      post_processor: null,
      decoder: { type: "WordPiece", prefix: "##", cleanup: false },
      model,
    };
    writeFileSync(join(kind, "tokenizer.json"), JSON.stringify(file));
    writeFileSync(join(kind, "tokenizer_config.json"), JSON.stringify({ eos_token: "[END]" }));
    const peer = await huggingFaceTokenizer(join(kind, "tokenizer.json"));
    expect([...peer.encodeSync("Hellos world")]).toEqual([1, 2, 0]);
    expect(peer.decode([1, 2])).toBe("hellos");
    expect([peer.vocabSize, peer.endOfText]).toEqual([4, 3]);
    writeFileSync(join(kind, "tokenizer_config.json"), "{");
    await expect(huggingFaceTokenizer(join(kind, "tokenizer.json"))).rejects.toThrow(FormatError);
  });

  test("a long text leaves the event loop alone; an abort ends the work and the next call works", async () => {
    const peer = await huggingFaceTokenizer(path);
    const long = book.slice(0, 400_000);
    let ids: Int32Array | undefined;
    const pause = await longestPause(async () => {
      ids = await peer.encode(long);
    });
    expect(ids).toHaveLength(tokenizer.encodeSync(long).length);
    expect(pause).toBeLessThan(250); // without pauses: seconds
    const controller = new AbortController();
    const run = peer.encode(long, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(run).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
    expect(await peer.encode("a")).toEqual(tokenizer.encodeSync("a"));
    await expect(peer.encode("a", { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });

  test.each<[string, string, typeof IoError | typeof FormatError, RegExp]>([
    ["a missing file", "", IoError, /could not read the tokenizer file/],
    ["no JSON", "{", FormatError, /expected JSON/],
    ["a list", "[]", FormatError, /a JSON object/],
    ["another object", "{}", FormatError, /refused/],
  ])("refuses %s", async (_, content, type, message) => {
    const file = at(content === "" ? "none.json" : "bad.json");
    if (content !== "") writeFileSync(file, content);
    const error = await huggingFaceTokenizer(file).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toMatch(message);
  });
});
