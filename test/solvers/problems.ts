/** Functions to minimise, with derivatives worked by hand. */
import type { SecondOrderProblem } from "../../lib/solvers/types.js";

type Whole = {
  [Name in "value" | "gradient" | "hessian" | "hvp"]: NonNullable<SecondOrderProblem[Name]>;
};

const times = (matrix: ArrayLike<number>, x: ArrayLike<number>): number[] =>
  Array.from({ length: x.length }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < x.length; j++) sum += matrix[i * x.length + j]! * x[j]!;
    return sum;
  });
const inner = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

/** Fills in the products from the Hessian. */
function whole(problem: Omit<Whole, "hvp">): Whole {
  return { ...problem, hvp: (x, v) => times(problem.hessian(x) as ArrayLike<number>, v) };
}

/** 1/2 x^T H x - b^T x, H row-major and symmetric. */
export function quadratic(h: readonly number[], b: readonly number[]): Whole {
  return whole({
    value: (x) => inner(x, times(h, x)) / 2 - inner(b, x),
    gradient: (x) => times(h, x).map((value, i) => value - b[i]!),
    hessian: () => h,
  });
}

/** log cosh x + 0.05 x^2: convex, and Newton's method diverges from 2. */
export const logCosh: Whole = whole({
  value: ([x = 0]) =>
    Math.abs(x) + Math.log1p(Math.exp(-2 * Math.abs(x))) - Math.LN2 + 0.05 * x * x,
  gradient: ([x = 0]) => [Math.tanh(x) + 0.1 * x],
  hessian: ([x = 0]) => [1 / Math.cosh(x) ** 2 + 0.1],
});

/** log(e^x1 + e^x2 + e^(-x1 - x2)) + 0.05 |x|^2: convex. */
export const logSumExp: Whole = (() => {
  const rows = [
    [1, 0],
    [0, 1],
    [-1, -1],
  ];
  const parts = (x: ArrayLike<number>) => {
    const weights = rows.map((row) => Math.exp(inner(row, x)));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { sum, p: weights.map((weight) => weight / sum) };
  };
  const mean = (p: readonly number[], axis: number) =>
    inner(
      p,
      rows.map((row) => row[axis]!),
    );
  return whole({
    value: (x) => Math.log(parts(x).sum) + 0.05 * inner(x, x),
    gradient: (x) => {
      const { p } = parts(x);
      return [0, 1].map((axis) => mean(p, axis) + 0.1 * x[axis]!);
    },
    hessian: (x) => {
      const { p } = parts(x);
      return [0, 1, 2, 3].map((k) => {
        const [i, j] = [k >> 1, k & 1];
        const second = inner(
          p,
          rows.map((row) => row[i]! * row[j]!),
        );
        return second - mean(p, i) * mean(p, j) + (i === j ? 0.1 : 0);
      });
    },
  });
})();

/** 100 (y - x^2)^2 + (1 - x)^2, halved: least 0 at (1, 1), curved and not convex. */
export const rosenbrock: Whole = whole({
  value: ([x = 0, y = 0]) => 50 * (y - x * x) ** 2 + (1 - x) ** 2 / 2,
  gradient: ([x = 0, y = 0]) => [-200 * x * (y - x * x) - (1 - x), 100 * (y - x * x)],
  hessian: ([x = 0, y = 0]) => [600 * x * x - 200 * y + 1, -200 * x, -200 * x, 100],
});

/** x^4/4 - x^2/2 + y^2/2: a saddle at 0, least -1/4 at (+-1, 0). */
export const doubleWell: Whole = whole({
  value: ([x = 0, y = 0]) => x ** 4 / 4 - x ** 2 / 2 + y ** 2 / 2,
  gradient: ([x = 0, y = 0]) => [x ** 3 - x, y],
  hessian: ([x = 0]) => [3 * x * x - 1, 0, 0, 1],
});

/** The same function in coordinates phi with x = A phi, `a` row-major. */
export function inCoordinates(problem: Whole, a: readonly number[]): Whole {
  const n = Math.sqrt(a.length);
  const transposed = Array.from(a, (_, k) => a[(k % n) * n + Math.floor(k / n)]!);
  const at = (phi: ArrayLike<number>) => Float64Array.from(times(a, phi));
  return whole({
    value: (phi) => problem.value(at(phi)),
    gradient: (phi) => times(transposed, problem.gradient(at(phi)) as number[]),
    hessian: (phi) => {
      const h = problem.hessian(at(phi)) as number[];
      // A^T H A, column by column.
      const columns = Array.from({ length: n }, (_, j) => {
        const column = Array.from({ length: n }, (_, i) => a[i * n + j]!);
        return times(transposed, times(h, column));
      });
      return Array.from(a, (_, k) => columns[k % n]![Math.floor(k / n)]!);
    },
  });
}

/** The same function with its origin moved to `c`. */
export function shifted(problem: Whole, c: readonly number[]): Whole {
  const at = (x: Float64Array) => x.map((value, i) => value - c[i]!);
  return whole({
    value: (x) => problem.value(at(x)),
    gradient: (x) => problem.gradient(at(x)),
    hessian: (x) => problem.hessian(at(x)),
  });
}

export const mapped = times;
