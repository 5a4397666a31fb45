import { TimeSlice } from "../io/event-loop.js";
import type { Evaluator } from "./evaluator.js";
import type { LeastSquaresProblem } from "./types.js";
import { dot } from "./vector.js";

/** J at one point, as products. */
export interface Jacobian {
  /** J v, `[m]`. */
  times(v: Float64Array): Promise<Float64Array>;
  /** J^T u, `[n]`. */
  transposedTimes(u: Float64Array): Promise<Float64Array>;
}

/** J at one point, whole. */
export class DenseJacobian implements Jacobian {
  readonly rows: readonly Float64Array[];
  readonly #n: number;

  /** @param matrix `[m, n]` row-major. */
  constructor(matrix: Float64Array, m: number, n: number) {
    this.#n = n;
    this.rows = Array.from({ length: m }, (_, i) => matrix.subarray(i * n, (i + 1) * n));
  }

  async times(v: Float64Array): Promise<Float64Array> {
    return Promise.resolve(Float64Array.from(this.rows, (row) => dot(row, v)));
  }

  async transposedTimes(u: Float64Array): Promise<Float64Array> {
    const product = new Float64Array(this.#n);
    this.rows.forEach((row, i) => {
      addScaled(product, u[i] ?? 0, row);
    });
    return Promise.resolve(product);
  }

  /** The diagonal of J^T J. */
  squares(): Float64Array {
    const squares = new Float64Array(this.#n);
    for (const row of this.rows) {
      for (let j = 0; j < squares.length; j++) squares[j] = (squares[j] ?? 0) + (row[j] ?? 0) ** 2;
    }
    return squares;
  }

  /** J^T J, `[n, n]`, the lower triangle; m n^2 flops. */
  async normal(): Promise<Float64Array> {
    const n = this.#n;
    const slice = new TimeSlice();
    const sum = new Float64Array(n * n);
    for (const row of this.rows) {
      for (let i = 0; i < n; i++) {
        addScaled(sum.subarray(i * n, i * n + i + 1), row[i] ?? 0, row);
        if (i % 64 === 63 && slice.due()) await slice.pause("levenbergMarquardt");
      }
      if (slice.due()) await slice.pause("levenbergMarquardt");
    }
    return sum;
  }

  /** J W^-1 J^T, `[m, m]`, the lower triangle, W the diagonal matrix of `weights`; m^2 n flops. */
  async dual(weights: Float64Array): Promise<Float64Array> {
    const m = this.rows.length;
    const slice = new TimeSlice();
    const sum = new Float64Array(m * m);
    for (const [i, row] of this.rows.entries()) {
      const weighted = row.map((value, j) => value / (weights[j] ?? 1));
      for (let j = 0; j <= i; j++) {
        sum[i * m + j] = dot(weighted, this.rows[j] ?? row);
        if (j % 64 === 63 && slice.due()) await slice.pause("levenbergMarquardt");
      }
    }
    return sum;
  }
}

/** y += t x, over the length of y. */
function addScaled(y: Float64Array, t: number, x: Float64Array): void {
  for (let j = 0; j < y.length; j++) y[j] = (y[j] ?? 0) + t * (x[j] ?? 0);
}

/** J at x: whole where the problem gives it, else by calls for every product. */
export async function jacobianAt(
  run: Evaluator<Float64Array>,
  problem: LeastSquaresProblem,
  x: Float64Array,
  m: number,
): Promise<Jacobian> {
  const n = x.length;
  if (problem.jacobian) {
    const raw = await run.call("jacobian", () => problem.jacobian?.(x.slice()));
    const matrix = run.numbers("jacobian", raw, m * n);
    run.requireFinite("the Jacobian", matrix);
    return new DenseJacobian(matrix, m, n);
  }
  const finite = (what: string, product: Float64Array) => {
    run.requireFinite(what, product);
    return product;
  };
  return {
    times: async (v) => {
      const raw = await run.call("jvp", () => problem.jvp?.(x.slice(), v.slice()));
      return finite("a product with the Jacobian", run.numbers("jvp", raw, m));
    },
    transposedTimes: async (u) => {
      const raw = await run.call("vjp", () => problem.vjp?.(x.slice(), u.slice()));
      return finite("a product with the transposed Jacobian", run.numbers("vjp", raw, n));
    },
  };
}
