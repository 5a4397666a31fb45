import type { Steps } from "./tokenizer.js";

const PIECE = 1 << 18;
const encoder = new TextEncoder();

const isHighSurrogate = (unit: number) => unit >= 0xd800 && unit < 0xdc00;

/** The UTF-8 bytes of a text, in steps; half a surrogate pair becomes U+FFFD. */
export function* utf8(text: string): Steps<Uint8Array> {
  if (text.length <= PIECE) return encoder.encode(text);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < text.length;) {
    let end = Math.min(at + PIECE, text.length);
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    parts.push(encoder.encode(text.slice(at, end)));
    at = end;
    yield;
  }
  return Buffer.concat(parts);
}
