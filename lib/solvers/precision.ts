/** The precisions `nonlinearCG` can be run in. */
import type { SecondOrderProblem, Vector } from "./types.js";
import { dot } from "./vector.js";

/**
 * - `float64`: everything.
 * - `mixed`: vectors float32, sums and values of f float64.
 * - `float32`: vectors, sums (pairwise) and values of f float32.
 */
export type Precision = "float64" | "mixed" | "float32";

export interface Arithmetic {
  readonly vectors: "float64" | "float32";
  /** Of values of f. */
  readonly epsilon: number;
  readonly dot: (a: Vector, b: Vector) => number;
  /** To the precision of sums. */
  readonly round: (value: number) => number;
}

const asIs = (value: number) => value;

export const arithmetic: Readonly<Record<Precision, Arithmetic>> = {
  float64: { vectors: "float64", epsilon: Number.EPSILON, dot, round: asIs },
  mixed: { vectors: "float32", epsilon: Number.EPSILON, dot, round: asIs },
  float32: { vectors: "float32", epsilon: 2 ** -23, dot: dot32, round: Math.fround },
};

const BLOCK = 16;

/** `dot` with every product and every sum rounded to float32. */
function dot32(a: Vector, b: Vector, from = 0, to = a.length): number {
  if (to - from > BLOCK) {
    const middle = from + ((to - from) >> 1);
    return Math.fround(dot32(a, b, from, middle) + dot32(a, b, middle, to));
  }
  let sum = 0;
  for (let i = from; i < to; i++) sum = Math.fround(sum + Math.fround((a[i] ?? 0) * (b[i] ?? 0)));
  return sum;
}

/** The problem with its values of f rounded. */
export function rounded<V extends Vector>(
  problem: SecondOrderProblem<V>,
  { round }: Arithmetic,
): SecondOrderProblem<V> {
  if (round === asIs) return problem;
  const { valueAndGradient } = problem;
  return {
    ...problem,
    value: async (x) => round(await problem.value(x)),
    gradient: (x) => problem.gradient(x),
    ...(valueAndGradient && {
      valueAndGradient: async (x: V) => {
        const { value, gradient } = await valueAndGradient.call(problem, x);
        return { value: round(value), gradient };
      },
    }),
    ...(problem.hvp && { hvp: (x: V, v: V) => problem.hvp?.(x, v) ?? [] }),
  };
}
