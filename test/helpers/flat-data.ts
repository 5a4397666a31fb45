/** Deterministic numbers for tests of kernels over vectors. */

export type Real = "float32" | "float64";

/** Numbers of either sign from about 2^-3 to 2^3, by Park and Miller's generator. */
export function numbers(seed = 1): () => number {
  let state = seed;
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return () => (uniform() - 0.5) * 2 ** (8 * uniform() - 3);
}

/** `size` of them in the dtype. */
export function vector(dtype: Real, size: number, seed = 1): Float32Array | Float64Array {
  const draw = numbers(seed);
  const x = dtype === "float32" ? new Float32Array(size) : new Float64Array(size);
  for (let i = 0; i < size; ++i) x[i] = draw();
  return x;
}

/** The sum of terms to about 2^-100 of their absolute sum: two-sums keep what each addition loses. */
export function exactSum(count: number, term: (i: number) => number): number {
  let [high, low] = [0, 0];
  for (let i = 0; i < count; ++i) {
    const x = term(i);
    const sum = high + x;
    const part = sum - high;
    low += high - (sum - part) + (x - part);
    high = sum;
  }
  return high + low;
}

/** Unit of rounding of a dtype: 2^-24 or 2^-53. */
export function unit(dtype: Real): number {
  return dtype === "float32" ? 2 ** -24 : 2 ** -53;
}
