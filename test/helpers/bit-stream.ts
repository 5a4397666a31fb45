/** Packed rows by another algorithm than the kernels': one big integer a row. */

/** A matrix of codes that uses every value and repeats in no power of two. */
export function codeMatrix(rows: number, columns: number, bits: number): Uint8Array {
  return Uint8Array.from(
    { length: rows * columns },
    (_, i) => (7 * i + (i % 5) + Math.floor(i / 11)) % 2 ** bits,
  );
}

/** The codes as one number, the first code lowest. */
export function bitStream(codes: Uint8Array, bits: number): bigint {
  return codes.reduceRight((sum, code) => (sum << BigInt(bits)) | BigInt(code), 0n);
}

/** Words as one number, the first word lowest. */
export function readStream(words: Int32Array | Uint8Array): bigint {
  const width = words.BYTES_PER_ELEMENT * 8;
  let sum = 0n;
  for (const word of words.toReversed()) {
    sum = (sum << BigInt(width)) | BigInt.asUintN(width, BigInt(word));
  }
  return sum;
}

/** The inverse of `readStream`. */
export function writeStream(words: Int32Array | Uint8Array, stream: bigint): void {
  const width = BigInt(words.BYTES_PER_ELEMENT * 8);
  words.forEach((_, i) => {
    words[i] = Number(
      BigInt.asIntN(32, BigInt.asUintN(Number(width), stream >> (width * BigInt(i)))),
    );
  });
}
