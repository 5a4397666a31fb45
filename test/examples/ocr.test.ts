import calibration from "../../examples/ocr/calibration.js";
import {
  CALIBRATION_LINES,
  evaluationLines,
  RECOGNIZER,
  recognizerAlphabet,
} from "../../examples/ocr/dataset.js";
import { align } from "../../examples/ocr/align.js";
import { encode, greedyDecode, makeAlphabet } from "../../examples/ocr/decode.js";
import { evaluate } from "../../examples/ocr/evaluate.js";
import { ctcLoss, klDivergence, levenshtein, Scorer } from "../../examples/ocr/metrics.js";
import { seeded } from "../../examples/ocr/random.js";
import { drawLine, LINE_HEIGHT } from "../../examples/ocr/render.js";
import { mobyDickWords, pickLines } from "../../examples/ocr/text.js";

describe("lines of the book", () => {
  test("are the same for a seed, differ between seeds, and share no text", async () => {
    const words = await mobyDickWords();
    const lines = pickLines(words, 600, 7);
    expect(pickLines(words, 600, 7)).toEqual(lines);
    expect(pickLines(words, 64, 7)).toEqual(lines.slice(0, 64));
    expect(pickLines(words, 64, 8)).not.toEqual(lines.slice(0, 64));
    // "CHAPTER 12." and the like may come twice; whole lines may not.
    expect(new Set(lines).size).toBe(lines.length);
    for (const line of lines) {
      expect(line.length).toBeLessThanOrEqual(36);
      expect(line).toMatch(/^[\x21-\x7e\u00a0-\u024f]+( [\x21-\x7e\u00a0-\u024f]+)*$/);
    }
  });

  test("cannot be more than the book holds", () => {
    expect(() => pickLines(["call", "me"], 1, 0)).toThrow(/at most 0 lines/);
  });
});

describe("drawing", () => {
  test("same seed, same pixels; another seed, others", () => {
    const a = drawLine("Call me Ishmael.", { seed: 3 });
    expect(drawLine("Call me Ishmael.", { seed: 3 }).data).toEqual(a.data);
    expect(drawLine("Call me Ishmael.", { seed: 4 }).data).not.toEqual(a.data);
  });

  test("gives [3, 48, W] planes in BGR order, scaled to -1..1, W a multiple of 8", () => {
    const { data, pixels, width } = drawLine("White Whale", { seed: 5 });
    const plane = LINE_HEIGHT * width;
    expect(width % 8).toBe(0);
    expect(data).toHaveLength(3 * plane);
    for (const at of [0, 17, plane - 1]) {
      for (const channel of [0, 1, 2]) {
        const expected = (pixels[3 * at + channel]! / 255 - 0.5) / 0.5;
        expect(data[(2 - channel) * plane + at]).toBeCloseTo(expected, 6);
      }
    }
  });

  test("puts ink on paper", () => {
    const quality = { blur: [0.5, 0.6], noise: [0, 1], contrast: [150, 151], tilt: 0 } as const;
    const { pixels } = drawLine("MMMMM", { seed: 1, quality });
    const greys = Array.from(pixels).sort((a, b) => a - b);
    expect(greys.at(-10)! - greys[10]!).toBeGreaterThan(100);
  });
});

describe("decoding", () => {
  const alphabet = makeAlphabet(["a", "b"]);
  /** Steps from class numbers, certain of each. */
  const steps = (...classes: number[]): Float32Array => {
    const out = new Float32Array(classes.length * 4);
    classes.forEach((c, t) => (out[4 * t + c] = 1));
    return out;
  };

  test.each<[number[], string]>([
    [[], ""],
    [[0, 0], ""],
    [[1, 1, 2], "ab"],
    [[1, 0, 1], "aa"],
    [[1, 3, 3, 2], "a b"],
    [[3, 1, 3], "a"],
  ])("%p reads %j", (classes, text) => {
    expect(greedyDecode(steps(...classes), classes.length, alphabet)).toBe(text);
  });

  test("the real alphabet: blank, 6623 keys, space", async () => {
    const real = await recognizerAlphabet();
    expect(real.characters).toHaveLength(6625);
    expect([real.characters[0], real.characters[6624]]).toEqual(["", " "]);
    expect(encode("Ahab's", real)).toHaveLength(6);
    expect(encode("\u2603", real)).toBeUndefined();
    expect(() => greedyDecode(new Float32Array(3), 1, real)).toThrow(RangeError);
  });
});

describe("metrics", () => {
  test.each([
    ["kitten", "sitting", 3],
    ["", "abc", 3],
    ["same", "same", 0],
    ["flaw", "lawn", 2],
  ])("edit distance of %j and %j is %d", (a, b, distance) => {
    expect(levenshtein(a, b)).toBe(distance);
    expect(levenshtein(b, a)).toBe(distance);
  });

  /** Probability of `labels` by walking all paths of classes: the definition. */
  function bruteForce(p: Float32Array, steps: number, classes: number, labels: number[]): number {
    let total = 0;
    for (let path = 0; path < classes ** steps; path++) {
      const walk = Array.from(
        { length: steps },
        (_, t) => Math.floor(path / classes ** t) % classes,
      );
      const read = walk.filter((c, t) => c !== 0 && c !== walk[t - 1]);
      if (read.join() !== labels.join()) continue;
      total += walk.reduce((product, c, t) => product * p[t * classes + c]!, 1);
    }
    return total;
  }

  test.each([[[]], [[1]], [[1, 2]], [[1, 1]], [[2, 1, 2]], [[1, 1, 1]]])(
    "CTC loss of %p is that of all paths together",
    (labels) => {
      const random = seeded(11 + labels.length);
      const [steps, classes] = [5, 3];
      const p = new Float32Array(steps * classes).map(() => random.next());
      for (let t = 0; t < steps; t++) {
        const row = p.subarray(t * classes, (t + 1) * classes);
        const sum = row.reduce((a, b) => a + b, 0);
        row.forEach((v, c) => (row[c] = v / sum));
      }
      const probability = bruteForce(p, steps, classes, labels);
      expect(ctcLoss(p, steps, Int32Array.from(labels))).toBeCloseTo(-Math.log(probability), 6);
    },
  );

  test("CTC loss: impossible labels are infinite, zero probabilities are floored", () => {
    expect(ctcLoss(new Float32Array([0.5, 0.5]), 1, Int32Array.of(1, 1))).toBe(Infinity);
    expect(ctcLoss(new Float32Array([1, 0]), 1, Int32Array.of(1))).toBeCloseTo(-Math.log(1e-12), 6);
    expect(ctcLoss(new Float32Array([1, 0]), 1, Int32Array.of())).toBe(0);
  });

  test("KL divergence: by hand, zero with itself, floored at 1e-12", () => {
    const p = new Float32Array([0.5, 0.5]);
    const q = new Float32Array([0.25, 0.75]);
    const expected = 0.5 * Math.log(2) + 0.5 * Math.log(2 / 3);
    expect(klDivergence(p, q)).toBeCloseTo(expected, 6);
    expect(klDivergence(p, p)).toBe(0);
    expect(klDivergence(new Float32Array([1]), new Float32Array([0]))).toBeCloseTo(
      12 * Math.log(10),
      6,
    );
    expect(() => klDivergence(p, new Float32Array(3))).toThrow(RangeError);
  });

  test("scores: errors over characters, exact lines, means a line and a step", () => {
    const scorer = new Scorer();
    scorer.add({ truth: "abcd", reading: "abcx", ctc: 2, klSum: 1, steps: 1 });
    scorer.add({ truth: "abcdef", reading: "abcdef", ctc: 4, klSum: 2, steps: 5 });
    expect(scorer.score()).toEqual({ cer: 0.1, exact: 1, ctc: 3, kl: 0.5 });
  });
});

test.each([
  ["abc", "abc", "same:abc"],
  ["abc", "axc", "same:a wrong:x same:c"],
  ["abc", "ac", "same:a missing:b same:c"],
  ["ac", "abc", "same:a wrong:b same:c"],
  ["abc", "", "missing:abc"],
  ["", "xy", "wrong:xy"],
])("aligning %j with the reading %j", (truth, reading, shown) => {
  const segments = align(truth, reading);
  expect(segments.map(({ kind, text }) => `${kind}:${text}`).join(" ")).toBe(shown);
});

test("the calibration module gives one batch a line", async () => {
  let batches = 0;
  for await (const { x } of calibration()) {
    expect(x!.data).toHaveLength(x!.dims.reduce((a, b) => a * b, 1));
    expect(x!.dims.slice(0, 3)).toEqual([1, 3, 48]);
    batches += 1;
  }
  expect(batches).toBe(CALIBRATION_LINES);
});

test("the recognizer reads the lines, and agrees with itself", async () => {
  const read: string[] = [];
  const scores = await evaluate(
    [
      { name: "fp32", path: RECOGNIZER },
      { name: "again", path: RECOGNIZER },
    ],
    evaluationLines(6),
    {
      alphabet: await recognizerAlphabet(),
      onLine: ({ readings }) => read.push(readings["fp32"]!),
    },
  );
  expect(read).toHaveLength(6);
  expect(scores["again"]).toEqual(scores["fp32"]);
  expect(scores["fp32"]!.kl).toBe(0);
  expect(scores["fp32"]!.cer).toBeLessThan(0.1);
});
