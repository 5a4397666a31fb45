/** Philox4x32-10 in BigInt arithmetic, from the paper: ten rounds, the key bumped by the golden ratio and sqrt(3) - 1. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k, l] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; ++round) {
    const first = 0xd2511f53n * a;
    const second = 0xcd9e8d57n * c;
    [a, b, c, d] = [(second >> 32n) ^ b ^ k, second & mask, (first >> 32n) ^ d ^ l, first & mask];
    k = (k + 0x9e3779b9n) & mask;
    l = (l + 0xbb67ae85n) & mask;
  }
  return [a, b, c, d].map(Number);
}

/** Box and Muller in float64 of two 32-bit words; u is rounded to float32 as random_fill says. */
export function normalPair(bits0: number, bits1: number) {
  const u = Math.fround((bits0 >>> 0) + 0.5) / 2 ** 32;
  const angle = (2 * Math.PI * (bits1 >>> 0)) / 2 ** 32;
  const r = Math.sqrt(-2 * Math.log(u));
  return { first: r * Math.cos(angle), second: r * Math.sin(angle), r };
}
