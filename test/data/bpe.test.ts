import fc from "fast-check";
import { trainBpe } from "../../lib/data/bpe-train.js";
import type { BpeTokenizer } from "../../lib/data/bpe-tokenizer.js";
import { mobyDick } from "../../lib/data/text.js";
import { wordEnds } from "../../lib/data/words.js";
import { ArgumentError, OsculateError } from "../../lib/errors.js";
import * as oracle from "../helpers/bpe-oracle.js";
import { longestPause } from "../helpers/longest-pause.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  vocabSize: number;
  minFrequency: number;
  specialTokens: string[];
  merges: string[];
  ids: Record<string, number>;
  samples: { text: string; ids: number[] }[];
}

/** Text in which every rule of the cut has work to do. */
const signs = [
  ...Array.from("aabbeéñ字12½٣ \n\t'!-’"),
  "'s",
  "'ll",
  "'re",
  "  ",
  "\u00a0",
  "\u0085",
  "\ufeff",
  "𝒜",
  "😀",
  "́",
];
const tricky = fc
  .array(
    fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...signs) }, fc.string({ unit: "binary" })),
  )
  .map((parts) => parts.join(""));
const anyUnits = fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units));

function cut(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (const end of wordEnds(text)) {
    if (end === undefined) continue;
    parts.push(text.slice(start, end));
    start = end;
  }
  return parts;
}

describe("the cut into words", () => {
  test("is that of the pattern", () => {
    fc.assert(
      fc.property(fc.oneof(tricky, anyUnits), (text) => {
        expect(cut(text)).toEqual(oracle.words(text));
      }),
      { numRuns: 500 },
    );
  });

  test("takes runs longer than a pause whole, and pauses in them", () => {
    const run = "𝒜".repeat(200_000);
    const ends = [...wordEnds(`${run} b`)];
    expect(ends.filter((end) => end !== undefined)).toEqual([400_000, 400_002]);
    expect(ends.filter((end) => end === undefined).length).toBeGreaterThan(3);
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** The merges of a tokenizer as the oracle writes them. */
function mergesOf(tokenizer: BpeTokenizer): [string, string][] {
  const { merges, tokens } = tokenizer.model;
  return merges.map(([left, right]) => [hex(tokens[left]!), hex(tokens[right]!)]);
}

describe("trainBpe", () => {
  test("learns what a plain count of everything learns", async () => {
    const text = fc
      .array(fc.constantFrom(...Array.from("aaabbcé ' ")))
      .map((parts) => parts.join(""));
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { maxLength: 6 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(30),
        async (texts, minFrequency, merges) => {
          const tokenizer = await trainBpe(texts, { vocabSize: 257 + merges, minFrequency });
          const firstIds = tokenizer.model.tokens.slice(0, 257).map(hex);
          const learned = oracle.train(texts, firstIds, merges, minFrequency);
          expect(mergesOf(tokenizer)).toEqual(learned);
          expect(tokenizer.vocabSize).toBe(257 + learned.length);
        },
      ),
    );
  });

  test("the order of the texts does not matter", async () => {
    const texts = ["the cat sat", "on the mat", "the rat"];
    const one = await trainBpe(texts, { vocabSize: 280 });
    const other = await trainBpe([...texts].reverse(), { vocabSize: 280 });
    expect(other.model).toEqual(one.model);
  });

  test("takes an async source", async () => {
    const source = async function* () {
      for (const text of ["low low", "lower lowest"]) yield await Promise.resolve(text);
    };
    const tokenizer = await trainBpe(source(), { vocabSize: 259 });
    expect([tokenizer.token(257), tokenizer.token(258)]).toEqual(["lo", "low"]);
  });

  test("no text: bytes and special tokens", async () => {
    const tokenizer = await trainBpe([], { vocabSize: 1000 });
    expect([tokenizer.vocabSize, tokenizer.endOfText]).toEqual([257, 0]);
    expect(tokenizer.decode(tokenizer.encodeSync("é!"))).toBe("é!");
  });

  test("a pair that would spell a special token is left out", async () => {
    const options = { vocabSize: 300, specialTokens: ["lo"] };
    const tokenizer = await trainBpe(["low low lob"], options);
    const spelled = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.token(id));
    expect(spelled.filter((token) => token === "lo")).toEqual(["lo"]);
    expect(new Set(spelled).size).toBe(spelled.length);
  });

  test.each<[string, Parameters<typeof trainBpe>[1], RegExp]>([
    ["a vocabulary without room for the bytes", { vocabSize: 256 }, /from 257 to 2097152/],
    ["a huge vocabulary", { vocabSize: 2 ** 22 }, /for vocabSize/],
    ["no frequency", { vocabSize: 300, minFrequency: 0 }, /for minFrequency/],
    ["an empty special token", { vocabSize: 300, specialTokens: [""] }, /not empty/],
    ["a special token twice", { vocabSize: 300, specialTokens: ["<a>", "<a>"] }, /each token once/],
    [
      "a special token that is a byte",
      { vocabSize: 300, specialTokens: ["Ġ"] },
      /letter of a byte/,
    ],
  ])("refuses %s", async (_, options, message) => {
    const error = await trainBpe(["a"], options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ArgumentError);
    expect((error as Error).message).toMatch(message);
  });

  test("refuses what is no text", async () => {
    await expect(trainBpe([7 as never], { vocabSize: 300 })).rejects.toThrow(/a string for text/);
  });

  test("stops when it is told to", async () => {
    const text = await mobyDick();
    const aborted = AbortSignal.abort();
    await expect(trainBpe([text], { vocabSize: 300, signal: aborted })).rejects.toThrow(
      OsculateError,
    );
    const controller = new AbortController();
    setTimeout(() => {
      controller.abort();
    }, 5);
    const run = trainBpe([text, text, text], { vocabSize: 5000, signal: controller.signal });
    await expect(run).rejects.toMatchObject({ code: "ABORTED" });
  });
});

describe("against the Rust crate, on Moby-Dick", () => {
  const vectors = readVectors<Vectors>("bpe.json");
  let tokenizer: BpeTokenizer;
  beforeAll(async () => {
    tokenizer = await trainBpe([await mobyDick()], vectors);
  });

  test("the same merges in the same order, the same ids", () => {
    const { merges } = tokenizer.model;
    const spelled = merges.map((merge) =>
      merge
        .slice(0, 2)
        .map((id) => tokenizer.token(id))
        .join(" "),
    );
    expect(spelled).toEqual(vectors.merges);
    for (const [token, id] of Object.entries(vectors.ids)) expect(tokenizer.token(id)).toBe(token);
  });

  test.each(vectors.samples)("the same ids for sample %#", async ({ text, ids }) => {
    expect([...tokenizer.encodeSync(text)]).toEqual(ids);
    expect([...(await tokenizer.encode(text))]).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  test("every text comes back, with the tokens a plain search finds", () => {
    const merges = mergesOf(tokenizer);
    fc.assert(
      fc.property(tricky, (text) => {
        const ids = tokenizer.encodeSync(text);
        expect(tokenizer.decode(ids)).toBe(text);
        const tokens = [...ids].map((id) => hex(tokenizer.model.tokens[id]!));
        expect(tokens).toEqual(oracle.encode(text, merges));
      }),
    );
  });

  test("half a surrogate pair comes back as U+FFFD, any other text as it is", () => {
    fc.assert(
      fc.property(anyUnits, (text) => {
        const wellFormed = Buffer.from(text).toString();
        expect(tokenizer.decode(tokenizer.encodeSync(text))).toBe(wellFormed);
      }),
    );
  });

  test("ids that end inside a character decode to U+FFFD", () => {
    const ids = tokenizer.encodeSync("字");
    expect(tokenizer.decode(ids.subarray(0, 1))).toBe("\ufffd");
    expect(tokenizer.decode([])).toBe("");
  });

  test.each([-1, 1024, 0.5, NaN])("there is no id %p", (id) => {
    expect(() => tokenizer.decode([0, id])).toThrow(/from 0 to 1023 for ids\[1\]/);
  });

  test("a long text and long words leave the event loop alone", async () => {
    const text = (await mobyDick()).repeat(4) + "whale".repeat(100_000) + "=".repeat(500_000);
    let ids: Int32Array | undefined;
    const pause = await longestPause(async () => {
      ids = await tokenizer.encode(text);
    });
    const sync = tokenizer.encodeSync(text);
    expect(Buffer.compare(new Uint8Array(ids!.buffer), new Uint8Array(sync.buffer))).toBe(0);
    expect(tokenizer.decode(sync) === text).toBe(true);
    // Generous against a busy machine: without the pauses it would be seconds.
    expect(pause).toBeLessThan(250);
  });

  test("an abort stops the work", async () => {
    const controller = new AbortController();
    const run = tokenizer.encode("whale".repeat(1_000_000), { signal: controller.signal });
    setTimeout(() => {
      controller.abort(new Error("enough"));
    }, 5);
    await expect(run).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
  });
});
