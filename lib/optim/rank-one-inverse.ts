import { vectorDot, vectorMaxAbs } from "../ops/vector-reduce.js";
import { axpby, combineRows } from "../ops/vector-update.js";
import { Tensor } from "../tensor/index.js";

/** The identity, `[n, n]` float32; the caller disposes it. */
export function identity(n: number, device: Tensor["device"]): Tensor {
  const values = new Float32Array(n * n);
  for (let i = 0; i < n; ++i) values[i * n + i] = 1;
  return Tensor.from(values, [n, n], { device });
}

/** `matrix <- keep matrix + add I`. */
function mixIdentity(matrix: Tensor, keep: number, add: number): void {
  using eye = identity(matrix.shape[0] ?? 0, matrix.device);
  axpby(add, eye, keep, matrix);
}

export interface RankOneRule {
  /** Share of the old statistic, in (0, 1). */
  readonly decay: number;
  /**
   * "ema": the inverse of `decay S + (1 - decay) v v^T`. "official": what the authors' code does, `decay J + (1 - decay) I`
   * and then the inverse of `J^-1 + v v^T`.
   */
  readonly mode: "ema" | "official";
}

/**
 * The inverse J of a symmetric statistic S after one more vector v, in place, by the Sherman-Morrison formula: O(n^2). Inner
 * products in float64, J stays symmetric to the bit.
 *
 * @param inverse `[n, n]` float32. @param v numbers, `[n]`.
 */
export async function updateInverse(
  inverse: Tensor,
  v: Float64Array,
  { decay, mode }: RankOneRule,
): Promise<void> {
  const n = v.length;
  const { device } = inverse;
  if (mode === "official") mixIdentity(inverse, decay, 1 - decay);
  using vector = Tensor.from(Float32Array.from(v), [n], { device });
  using exact = vectorDot(inverse, vector);
  using u = exact.toDType("float32");
  using product = vectorDot(vector, u);
  const q = Number((await product.data())[0]);
  const [scale, rate] =
    mode === "official"
      ? [1, 1 / (1 + q)]
      : [1 / decay, (1 - decay) / (decay * (decay + (1 - decay) * q))];
  using rounded = u.toDType("float64");
  using coefficients = rounded.reshape([n, 1]);
  using row = u.reshape([1, n]);
  combineRows(coefficients, row, inverse, { alpha: -rate, beta: scale });
}

/** Draws a grown inverse to the identity: `(1 - share) J + share I` where an element is above 2. Whether it did. */
export async function stabilize(inverse: Tensor, share: number): Promise<boolean> {
  if (!(await isLarge(inverse))) return false;
  mixIdentity(inverse, 1 - share, share);
  return true;
}

/** Whether an element is above 2 in magnitude. */
export async function isLarge(inverse: Tensor): Promise<boolean> {
  using largest = vectorMaxAbs(inverse);
  return Number((await largest.data())[0]) > 2;
}
