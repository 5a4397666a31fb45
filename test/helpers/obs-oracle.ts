/**
 * Optimal Brain Surgeon by least squares: with the values of some weights fixed, the others answer by
 * w_F + H_FF^-1 H_FS (w_S - q_S), and every candidate of a greedy step is tried out.
 */
import { conditionalOptimum } from "./gptq-oracle.js";

type Matrix = number[][];

export function damped(H: Matrix, fraction: number): Matrix {
  const mean = H.reduce((sum, row, i) => sum + row[i]!, 0) / H.length;
  return H.map((row, i) => row.map((h, j) => h + (i === j ? fraction * mean : 0)));
}

/** The best weights when those of `fixed` have the values given, and 1/2 d H d^T. */
export function answer(
  H: Matrix,
  w: readonly number[],
  fixed: ReadonlyMap<number, number>,
): { weight: number[]; cost: number } {
  const free = w.map((_, j) => j).filter((j) => !fixed.has(j));
  const order = Int32Array.from([...fixed.keys(), ...free]);
  const sorted = Array.from(order, (j) => w[j]!);
  const change = conditionalOptimum(H, sorted, [...fixed.values()], order);
  const weight = [...w];
  for (const [j, value] of fixed) weight[j] = value;
  free.forEach((j, i) => (weight[j]! += change[i]!));
  const d = w.map((value, j) => value - weight[j]!);
  let cost = 0;
  d.forEach((a, i) => {
    d.forEach((b, j) => (cost += 0.5 * a * H[i]![j]! * b));
  });
  return { weight, cost };
}

export interface Step {
  readonly index: number;
  readonly cost: number;
  readonly weight: number[];
}

/** Again and again the candidate whose fixing costs least; `value` says what a weight would become, undefined: not now. */
export function greedy(
  H: Matrix,
  w: readonly number[],
  steps: number,
  value: (
    now: readonly number[],
    j: number,
    fixed: ReadonlyMap<number, number>,
  ) => number | undefined,
): Step[] {
  const fixed = new Map<number, number>();
  const taken: Step[] = [];
  let now = [...w];
  let before = 0;
  for (let step = 0; step < steps; ++step) {
    let best: (Step & { q: number }) | undefined;
    for (let j = 0; j < w.length; ++j) {
      const q = fixed.has(j) ? undefined : value(now, j, fixed);
      if (q === undefined) continue;
      const { weight, cost } = answer(H, w, new Map([...fixed, [j, q]]));
      if (best === undefined || cost - before < best.cost)
        best = { index: j, cost: cost - before, weight, q };
    }
    if (best === undefined) break;
    fixed.set(best.index, best.q);
    now = best.weight;
    before += best.cost;
    taken.push({ index: best.index, cost: best.cost, weight: best.weight });
  }
  return taken;
}
