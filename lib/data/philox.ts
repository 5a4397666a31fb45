/** High 32 bits of a 32 x 32-bit product; every partial product is below 2^53 and so exact. */
function mulHigh(a: number, b: number): number {
  const low = a * (b & 0xffff);
  return Math.floor((a * (b >>> 16) + Math.floor(low / 0x10000)) / 0x10000);
}

/**
 * One block of Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): 128 bits that
 * depend on nothing but the counter and the key. The kernels draw from the same generator (native/core/philox.h).
 *
 * @param counter four 32-bit words; overwritten with the four words of the block.
 * @param key two 32-bit words.
 */
export function philox(counter: Uint32Array, key0: number, key1: number): void {
  let [a = 0, b = 0, c = 0, d = 0] = counter;
  for (let round = 0; round < 10; round++) {
    const first = mulHigh(c, 0xcd9e8d57) ^ b ^ (key0 + round * 0x9e3779b9);
    const third = mulHigh(a, 0xd2511f53) ^ d ^ (key1 + round * 0xbb67ae85);
    b = Math.imul(c, 0xcd9e8d57) >>> 0;
    d = Math.imul(a, 0xd2511f53) >>> 0;
    a = first >>> 0;
    c = third >>> 0;
  }
  counter[0] = a;
  counter[1] = b;
  counter[2] = c;
  counter[3] = d;
}
