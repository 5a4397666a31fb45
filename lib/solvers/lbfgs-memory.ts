import { dot, moved, norm, scaled } from "./vector.js";

interface Pair {
  readonly s: Float64Array;
  readonly y: Float64Array;
  readonly sy: number;
}

/** What to do with a pair whose curvature <s, y> is not positive enough. */
export type CurvatureRule = "skip" | "damp";

/**
 * The last steps s and changes of the gradient y, and with them the product of the inverse Hessian approximation of L-BFGS
 * (Nocedal, 1980) by the two-loop recursion: 4 h n flops for h pairs.
 */
export class LbfgsMemory {
  readonly #history: number;
  readonly #rule: CurvatureRule;
  #pairs: Pair[] = [];

  constructor(history: number, rule: CurvatureRule) {
    this.#history = history;
    this.#rule = rule;
  }

  get size(): number {
    return this.#pairs.length;
  }

  /** <s, y> / <y, y> of the newest pair: the scale of the inverse Hessian; 1 without one. */
  get scale(): number {
    const newest = this.#pairs.at(-1);
    return newest ? newest.sy / dot(newest.y, newest.y) : 1;
  }

  clear(): void {
    this.#pairs = [];
  }

  /**
   * Takes a pair in. `skip`: only when <s, y> > 1e-10 ||s|| ||y||. `damp`: y is first drawn towards B s until
   * <s, y> = 0.2 <s, B s> (Powell, 1978), with B = I / scale.
   */
  add(s: Float64Array, y: Float64Array): void {
    let kept = y;
    if (this.#rule === "damp") {
      const sBs = dot(s, s) / this.scale;
      const sy = dot(s, y);
      if (sy < 0.2 * sBs) {
        const theta = (0.8 * sBs) / (sBs - sy);
        kept = moved(scaled(theta, y), (1 - theta) / this.scale, s);
      }
    }
    const sy = dot(s, kept);
    if (!(sy > 1e-10 * norm(s) * norm(kept))) return;
    this.#pairs.push({ s, y: kept, sy });
    if (this.#pairs.length > this.#history) this.#pairs.shift();
  }

  /** The inverse Hessian approximation times g. */
  times(g: Float64Array): Float64Array {
    let q: Float64Array = g;
    const alphas: number[] = [];
    for (const { s, y, sy } of [...this.#pairs].reverse()) {
      const alpha = dot(s, q) / sy;
      alphas.push(alpha);
      q = moved(q, -alpha, y);
    }
    q = scaled(this.scale, q);
    for (const { s, y, sy } of this.#pairs) {
      const beta = dot(y, q) / sy;
      q = moved(q, (alphas.pop() ?? 0) - beta, s);
    }
    return q;
  }
}
