import { readFile } from "node:fs/promises";

/** Class 0 of the recognizer: "no character here". */
export const BLANK = 0;

/** The recognizer's classes: blank, the key file a line each, then space. */
export interface Alphabet {
  /** Character of each class; the blank is "". */
  readonly characters: readonly string[];
  readonly classOf: ReadonlyMap<string, number>;
}

/** Reads the key file (one character a line, no header). */
export async function readAlphabet(path: string): Promise<Alphabet> {
  return makeAlphabet((await readFile(path, "utf8")).replace(/\n$/, "").split(/\r?\n/));
}

/** Builds the classes from the keys in order. */
export function makeAlphabet(keys: readonly string[]): Alphabet {
  const characters = ["", ...keys, " "];
  const classOf = new Map<string, number>();
  characters.forEach((character, index) => {
    // The first class of a repeated key is the one that was trained.
    if (index !== BLANK && !classOf.has(character)) classOf.set(character, index);
  });
  return { characters, classOf };
}

/** Truth as classes; `undefined` when a character is not in the alphabet. */
export function encode(text: string, alphabet: Alphabet): Int32Array | undefined {
  const labels: number[] = [];
  for (const character of text) {
    const label = alphabet.classOf.get(character);
    if (label === undefined) return undefined;
    labels.push(label);
  }
  return Int32Array.from(labels);
}

/**
 * Reads a line greedily: the most probable class of each step, repeats merged, blanks dropped, the
 * ends trimmed (Graves et al., Connectionist Temporal Classification, 2006, best path decoding).
 *
 * @param probabilities `[steps, classes]`, row-major.
 */
export function greedyDecode(
  probabilities: Float32Array,
  steps: number,
  alphabet: Alphabet,
): string {
  const classes = alphabet.characters.length;
  if (probabilities.length !== steps * classes) {
    throw new RangeError(
      `greedyDecode: expected ${steps} x ${classes} values but received ${probabilities.length}`,
    );
  }
  let text = "";
  let previous = BLANK;
  for (let t = 0; t < steps; t++) {
    let best = 0;
    let bestValue = -Infinity;
    for (let c = 0, at = t * classes; c < classes; c++, at++) {
      const value = probabilities[at]!;
      if (value > bestValue) {
        bestValue = value;
        best = c;
      }
    }
    if (best !== BLANK && best !== previous) text += alphabet.characters[best]!;
    previous = best;
  }
  return text.trim();
}
