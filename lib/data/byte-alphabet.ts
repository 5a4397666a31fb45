/**
 * Bytes as letters, so that tokens of any bytes can stand in a JSON file: GPT-2's table. The printable bytes of Latin-1 stand
 * for themselves, the others for U+0100, U+0101 ... in their order.
 */
export const LETTERS: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let spare = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : spare++),
  );
})();

const BYTES = new Map(LETTERS.map((letter, byte) => [letter, byte]));

/** Bytes in the order of their letters, which is the order of ids in a trained vocabulary. */
export const BYTES_BY_LETTER: readonly number[] = [...LETTERS.keys()].sort((a, b) =>
  (LETTERS[a] ?? "") < (LETTERS[b] ?? "") ? -1 : 1,
);

/** Letters for bytes. */
export function spell(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => LETTERS[byte]).join("");
}

/** Bytes for letters; undefined when one is no letter of the alphabet. */
export function unspell(token: string): Uint8Array | undefined {
  const bytes = Array.from(token, (letter) => BYTES.get(letter));
  return bytes.includes(undefined) ? undefined : Uint8Array.from(bytes as number[]);
}
