/** Byte-pair encoding written plainly: everything is counted and searched again for every merge. */
import { WORD_PATTERN } from "../../lib/data/words.js";

/** The published pattern, with white space as the engine of the file format understands it. */
const pattern = new RegExp(
  WORD_PATTERN.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}"),
  "gu",
);

export function words(text: string): string[] {
  return text.match(pattern) ?? [];
}

/** Tokens are written as their bytes in hexadecimal. */
const bytesOf = (word: string) =>
  Array.from(Buffer.from(word), (byte) => byte.toString(16).padStart(2, "0"));

function join(tokens: string[], left: string, right: string): string[] {
  const joined: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] === left && tokens[i + 1] === right) {
      joined.push(left + right);
      i++;
    } else joined.push(tokens[i]!);
  }
  return joined;
}

/** The merges learned, as pairs; `firstIds` are the tokens there at the start, in the order of their ids. */
export function train(
  texts: readonly string[],
  firstIds: readonly string[],
  merges: number,
  minFrequency: number,
): [string, string][] {
  let corpus = texts.flatMap(words).map(bytesOf);
  const ids = [...firstIds];
  const learned: [string, string][] = [];
  while (learned.length < merges) {
    const counts = new Map<string, number>();
    for (const word of corpus) {
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]!} ${word[i + 1]!}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const place = (pair: string) => pair.split(" ").map((token) => ids.indexOf(token));
    const [best] = [...counts].sort(([a, n], [b, m]) => {
      const [p, q] = [place(a), place(b)];
      return m - n || p[0]! - q[0]! || p[1]! - q[1]!;
    });
    if (best === undefined || best[1] < minFrequency) break;
    const [left, right] = best[0].split(" ") as [string, string];
    learned.push([left, right]);
    ids.push(left + right);
    corpus = corpus.map((word) => join(word, left, right));
  }
  return learned;
}

export function encode(text: string, merges: readonly (readonly [string, string])[]): string[] {
  return words(text).flatMap((word) => {
    let tokens = bytesOf(word);
    for (;;) {
      const merge = merges.find(([left, right]) =>
        tokens.some((token, i) => token === left && tokens[i + 1] === right),
      );
      if (!merge) return tokens;
      const at = tokens.findIndex((token, i) => token === merge[0] && tokens[i + 1] === merge[1]);
      tokens = [...tokens.slice(0, at), merge[0] + merge[1], ...tokens.slice(at + 2)];
    }
  });
}
