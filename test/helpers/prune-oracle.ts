/** Slow, obvious references for masks: everything is sorted, by score and then by position. */

/** 1 where kept: all but the `zeros` smallest, of equal ones the first. */
export function keepLargest(scores: readonly number[], zeros: number): number[] {
  const order = scores.map((_, i) => i).sort((a, b) => scores[a]! - scores[b]! || a - b);
  const mask = scores.map(() => 1);
  for (const i of order.slice(0, zeros)) mask[i] = 0;
  return mask;
}

/** The same within every m consecutive ones: n, or floor(n l / m) of a last group of l. */
export function keepInGroups(scores: readonly number[], n: number, m: number): number[] {
  const mask: number[] = [];
  for (let at = 0; at < scores.length; at += m) {
    const group = scores.slice(at, at + m);
    mask.push(...keepLargest(group, Math.floor((n * group.length) / m)));
  }
  return mask;
}

/** tr(D H D^T), D = W - Q. */
export function quadraticError(W: number[][], Q: number[][], H: number[][]): number {
  let sum = 0;
  W.forEach((row, r) => {
    const d = row.map((w, j) => w - Q[r]![j]!);
    for (let i = 0; i < d.length; ++i)
      for (let j = 0; j < d.length; ++j) sum += d[i]! * H[i]![j]! * d[j]!;
  });
  return sum;
}

export function nested(flat: ArrayLike<number>, columns: number): number[][] {
  return Array.from({ length: columns === 0 ? 0 : flat.length / columns }, (_, r) =>
    Array.from({ length: columns }, (_, c) => flat[r * columns + c]!),
  );
}
