/**
 * The cut before byte pairs are merged, that of GPT-2: the end of a contraction ('s 't 're 've 'm 'll 'd), a run of letters,
 * of digits or of other signs, each with one space before it, or a run of white space (without its last sign where a word
 * follows). Tokens never reach across a cut. As the regular expression that tokenizer files hold:
 */
export const WORD_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const LETTER = 1;
const DIGIT = 2;
const WHITE_SPACE = 3;
const OTHER = 4;

/** The kind of every code point, filled in as they are met; 0: not yet. */
const kinds = new Uint8Array(0x110000);

function kindAt(text: string, at: number): number {
  const point = text.codePointAt(at) ?? 0;
  const kind = kinds[point] ?? 0;
  return kind === 0 ? (kinds[point] = classify(String.fromCodePoint(point))) : kind;
}

function classify(sign: string): number {
  if (/\p{L}/u.test(sign)) return LETTER;
  if (/\p{N}/u.test(sign)) return DIGIT;
  // Not \s, which adds U+FEFF and lacks U+0085: the engine the files are written for goes by this property.
  return /\p{White_Space}/u.test(sign) ? WHITE_SPACE : OTHER;
}

const CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
/** Signs of a run between two pauses. */
const PAUSE = 1 << 16;

/**
 * The end of every word of a text, in order; the first word starts at 0 and each at the end of the one before. `undefined` is
 * a moment to pause, inside a long word. By hand because a regular expression cannot pause, and overflows its stack on runs
 * of some million letters beyond the basic plane.
 */
export function* wordEnds(text: string): Generator<number | undefined, void> {
  for (let start = 0, end: number; start < text.length; start = end) {
    const contraction =
      text[start] === "'" && CONTRACTIONS.find((suffix) => text.startsWith(suffix, start));
    if (contraction) {
      end = start + contraction.length;
      yield end;
      continue;
    }
    end = start;
    if (text[start] === " " && start + 1 < text.length) {
      if (kindAt(text, start + 1) !== WHITE_SPACE) end = start + 1;
    }
    const kind = kindAt(text, end);
    for (let pause = end + PAUSE; end < text.length && kindAt(text, end) === kind;) {
      end += (text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1;
      if (end < pause) continue;
      pause = end + PAUSE;
      yield;
    }
    // A sign of white space is one unit.
    if (kind === WHITE_SPACE && end < text.length && end - start > 1) end -= 1;
    yield end;
  }
}
