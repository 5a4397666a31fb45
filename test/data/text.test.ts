import fc from "fast-check";
import { ByteTokenizer } from "../../lib/data/byte-tokenizer.js";
import { trainBpe } from "../../lib/data/bpe-train.js";
import { mobyDick, stateOfTheUnion } from "../../lib/data/text.js";
import {
  encodeDocuments,
  tokenBatches,
  type TokenBatchOptions,
} from "../../lib/data/token-batches.js";
import { ArgumentError, BindingError } from "../../lib/errors.js";
import { findPeer } from "../../lib/io/peer.js";
import { longestPause } from "../helpers/longest-pause.js";

test("the texts are all there", async () => {
  expect(await mobyDick()).toContain("Call me Ishmael.");
  const addresses = await stateOfTheUnion();
  expect(addresses).toHaveLength(233);
  expect(addresses[0]!.name).toBe("1790_george_washington_n");
  expect(addresses.at(-1)!.name).toBe("2021_joseph_r_biden_d");
  const bytes = addresses.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  expect(bytes).toBe(10_761_413);
});

test("a missing package says how to install it", () => {
  expect(() => findPeer("f", "@no/such/package.json", "Install it.")).toThrow(BindingError);
  expect(() => findPeer("f", "@no/such/package.json", "Install it.")).toThrow(
    "f: expected the package @no/such to be installed but it was not found.\nInstall it.",
  );
});

describe("ByteTokenizer", () => {
  const bytes = new ByteTokenizer();

  test("ids are the bytes of UTF-8", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const ids = bytes.encodeSync(text);
        expect([...ids]).toEqual([...Buffer.from(text)]);
        expect(bytes.decode(ids)).toBe(text);
      }),
    );
  });

  test("a long text in pieces, no pair of surrogates cut", async () => {
    // Odd and even starts, so that a piece would end between two halves.
    for (const text of ["😀".repeat(500_000), "a" + "😀".repeat(500_000)]) {
      let ids: Int32Array | undefined;
      const pause = await longestPause(async () => {
        ids = await bytes.encode(text);
      });
      expect(Buffer.compare(Uint8Array.from(ids!), Buffer.from(text))).toBe(0);
      expect(pause).toBeLessThan(250); // without pauses: seconds
    }
  });

  test("refuses what it cannot hold", async () => {
    expect(() => bytes.decode([256])).toThrow(/from 0 to 255 for ids\[0\]/);
    await expect(bytes.encode(undefined as never)).rejects.toThrow(ArgumentError);
    await expect(bytes.encode("a", { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });
});

test("encodeDocuments parts texts where the tokenizer can", async () => {
  expect([...(await encodeDocuments(new ByteTokenizer(), ["a", "", "bc"]))]).toEqual([97, 98, 99]);
  const bpe = await trainBpe([], { vocabSize: 257 });
  const id = (letter: string) => bpe.encodeSync(letter)[0];
  const ids = await encodeDocuments(bpe, ["a", "", "bc"]);
  expect([...ids]).toEqual([id("a"), 0, 0, id("b"), id("c"), 0]);
  expect(await encodeDocuments(bpe, [])).toHaveLength(0);
});

describe("tokenBatches", () => {
  const tokens = (count: number) => Int32Array.from({ length: count }, (_, i) => 10 * i);

  test.each([
    // tokens, contextLength, stride, starts of the windows
    [9, 4, undefined, [0, 4]],
    [10, 4, undefined, [0, 4]],
    [13, 4, undefined, [0, 4, 8]],
    [9, 4, 2, [0, 2, 4]],
    [9, 4, 7, [0]],
    [5, 4, 1, [0]],
    [2, 1, 1, [0]],
  ])("%d tokens, context %d, stride %p", (count, contextLength, stride, starts) => {
    const batches = tokenBatches(tokens(count), {
      contextLength,
      stride,
      batchSize: 2,
      shuffle: false,
    });
    const seen: number[] = [];
    for (const { inputs, targets } of batches) {
      expect([inputs.dtype, targets.shape]).toEqual(["int32", inputs.shape]);
      const [x, y] = [inputs.dataSync(), targets.dataSync()];
      expect(inputs.shape[1]).toBe(contextLength);
      x.forEach((value, i) => {
        expect(y[i]).toBe(value + 10);
        if (i % contextLength === 0) seen.push(value / 10);
        else expect(value).toBe(x[i - 1]! + 10);
      });
      inputs.dispose();
      targets.dispose();
    }
    expect(seen).toEqual(starts);
  });

  test.each<[string, Int32Array, Partial<TokenBatchOptions>, RegExp]>([
    ["too few tokens", tokens(4), {}, /at least contextLength \+ 1 = 5 tokens/],
    ["no context", tokens(9), { contextLength: 0 }, /contextLength/],
    ["no stride", tokens(9), { stride: 0 }, /stride/],
    ["other numbers", new Float32Array(9) as never, {}, /an Int32Array for tokens/],
  ])("refuses %s", (_, given, options, message) => {
    const make = () => tokenBatches(given, { contextLength: 4, batchSize: 1, ...options });
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(message);
  });
});
