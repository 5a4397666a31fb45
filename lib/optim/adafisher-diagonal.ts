/** Added to the range that is divided by. */
const guard = 1e-6;

/**
 * A diagonal of AdaFisher after one more estimate: `old x + new (y - min y) / (max y - min y + 1e-6)`, where +Inf counts as
 * 1. Constant estimates count as 0.
 */
export function nextDiagonal(
  diagonal: ArrayLike<number>,
  estimate: Float64Array,
  [old, fresh]: readonly [old: number, fresh: number],
): Float64Array {
  const finite = estimate.filter(Number.isFinite);
  let [low, high] = [Infinity, -Infinity];
  for (const value of finite) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return estimate.map((value, i) => {
    const normal = value === Infinity ? 1 : (value - low) / (high - low + guard);
    return old * (diagonal[i] ?? 0) + fresh * normal;
  });
}
