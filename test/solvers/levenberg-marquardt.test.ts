import {
  levenbergMarquardt,
  type LevenbergMarquardtOptions,
} from "../../lib/solvers/levenberg-marquardt.js";
import type { LeastSquaresProblem } from "../../lib/solvers/types.js";

const from = (...x: number[]) => Float64Array.from(x);

const rosenbrock: LeastSquaresProblem = {
  residuals: ([x = 0, y = 0]) => [10 * (y - x * x), 1 - x],
  jacobian: ([x = 0]) => [-20 * x, 10, -1, 0],
};

/** A x - b, with products written apart. */
function linear(a: readonly number[][], b: readonly number[]): Required<LeastSquaresProblem> {
  const times = (v: ArrayLike<number>) =>
    a.map((row) => row.reduce((sum, value, j) => sum + value * v[j]!, 0));
  return {
    residuals: (x) => times(x).map((value, i) => value - b[i]!),
    jacobian: () => a.flat(),
    jvp: (_, v) => times(v),
    vjp: (_, u) => a[0]!.map((_value, j) => a.reduce((sum, row, i) => sum + row[j]! * u[i]!, 0)),
  };
}

async function path(
  problem: LeastSquaresProblem,
  x0: Float64Array,
  options: LevenbergMarquardtOptions,
) {
  const points: number[][] = [];
  const result = await levenbergMarquardt(problem, x0, {
    ...options,
    onIteration: (_, x) => points.push([...x]),
  });
  return { points, result };
}

test.each([
  [
    0,
    [
      [-1.2, 1],
      [1, -3.84],
      [1, 1],
    ],
  ],
  [
    1,
    [
      [-1.2, 1],
      [-0.77866324, 0.4344473],
      [-0.31432514, -0.11135158],
    ],
  ],
])("fixed damping %d on Rosenbrock's residuals", async (damping, wanted) => {
  const { points } = await path(rosenbrock, from(-1.2, 1), {
    damping,
    adaptive: false,
    maxIterations: 2,
  });
  wanted.forEach((x, k) => {
    x.forEach((value, i) => {
      expect(points[k]![i]).toBeCloseTo(value, 8);
    });
  });
});

test("adaptive damping goes down to the minimum, never up", async () => {
  const { result } = await path(rosenbrock, from(-1.2, 1), {});
  expect(result.status).toBe("converged");
  expect(Math.hypot(result.x[0]! - 1, result.x[1]! - 1)).toBeLessThan(1e-7);
  result.trace.slice(1).forEach((point, k) => {
    expect(point.value).toBeLessThanOrEqual(result.trace[k]!.value);
    if (!point.accepted) expect(point.stepNorm).toBe(0);
  });
  expect(result.trace[0]!.damping).toBeCloseTo(1e-3 * (24 * 24 + 1), 10);
});

test("damping shrinks to a third, and grows by 2, 4, 8", async () => {
  // A residual so bent that Gauss-Newton overshoots for a while.
  const bent: LeastSquaresProblem = {
    residuals: ([x = 0]) => [Math.atan(20 * x)],
    jacobian: ([x = 0]) => [20 / (1 + 400 * x * x)],
  };
  const { result } = await path(bent, from(0.5), { damping: 1e-4 });
  const refused = result.trace.filter((point) => point.iteration > 0 && !point.accepted);
  expect(refused.length).toBeGreaterThan(2);
  expect(refused[1]!.damping / refused[0]!.damping).toBeCloseTo(2, 10);
  expect(refused[2]!.damping / refused[1]!.damping).toBeCloseTo(4, 10);
  const good = result.trace.findIndex(
    (point, k) => point.ratio > 0.75 && k + 1 < result.trace.length,
  );
  expect(result.trace[good + 1]!.damping / result.trace[good]!.damping).toBeCloseTo(1 / 3, 10);
  expect(result.status).toBe("converged");
});

const tall = [
  [1, 2],
  [3, -1],
  [0.5, 4],
];
const wide = [
  [1, 2, -1, 0.3],
  [0.2, -1, 3, 1],
];

test("a linear model is done in one undamped step", async () => {
  const { result } = await path(linear(tall, [1, -2, 3]), from(7, 7), {
    damping: 0,
    gradientTolerance: 1e-10,
  });
  expect([result.status, result.iterations]).toEqual(["converged", 1]);
});

test("large damping is steepest descent: mu d = -J^T r", async () => {
  const mu = 1e9;
  const { points } = await path(linear(tall, [1, -2, 3]), from(1, 1), {
    damping: mu,
    adaptive: false,
    maxIterations: 1,
  });
  // r = (2, 4, 1.5): J^T r = (14.75, 6).
  expect(mu * (points[1]![0]! - 1)).toBeCloseTo(-14.75, 4);
  expect(mu * (points[1]![1]! - 1)).toBeCloseTo(-6, 4);
});

test.each([
  ["more residuals than parameters", tall, [1, -2, 3]],
  ["fewer", wide, [1, -2]],
])("primal, dual and conjugate gradients agree, %s", async (_, a, b) => {
  const x0 = Float64Array.from(a[0]!, (_value, j) => j - 1);
  const problem = linear(a, b);
  const { jvp, vjp, residuals, jacobian } = problem;
  for (const scaling of ["identity", "diagonal"] as const) {
    const ends: number[][] = [];
    for (const solve of ["primal", "dual", "auto", "cg"] as const) {
      if (solve === "cg" && scaling === "diagonal") continue;
      const given = solve === "cg" ? { residuals, jvp, vjp } : { residuals, jacobian };
      const options = {
        damping: 0.3,
        adaptive: false,
        maxIterations: 1,
        cgTolerance: 1e-13,
        solve,
        scaling,
      };
      ends.push((await path(given, x0, options)).points[1]!);
    }
    for (const end of ends) {
      end.forEach((value, j) => {
        expect(Math.abs(value - ends[0]![j]!)).toBeLessThan(1e-8);
      });
    }
    expect(ends.length).toBe(scaling === "identity" ? 4 : 3);
  }
});

test("scaling by the diagonal takes the same steps in stretched coordinates", async () => {
  const stretched: LeastSquaresProblem = {
    residuals: ([x = 0, y = 0]) => rosenbrock.residuals(from(100 * x, y / 10)),
    jacobian: ([x = 0]) => [-20 * 100 * x * 100, 10 / 10, -100, 0],
  };
  const options = { scaling: "diagonal", damping: 0.1, maxIterations: 5 } as const;
  const { points: one } = await path(rosenbrock, from(-1.2, 1), options);
  const { points: other } = await path(stretched, from(-0.012, 10), options);
  one.forEach(([x, y], k) => {
    expect(100 * other[k]![0]!).toBeCloseTo(x!, 8);
    expect(other[k]![1]! / 10).toBeCloseTo(y!, 8);
  });
});

test("products alone: the same minimum", async () => {
  const products: LeastSquaresProblem = {
    residuals: rosenbrock.residuals,
    jvp: ([x = 0], [a = 0, b = 0]) => [-20 * x * a + 10 * b, -a],
    vjp: ([x = 0], [u = 0, v = 0]) => [-20 * x * u - v, 10 * u],
  };
  const { result } = await path(products, from(-1.2, 1), {});
  expect(result.status).toBe("converged");
  expect(Math.hypot(result.x[0]! - 1, result.x[1]! - 1)).toBeLessThan(1e-6);
  expect(result.evaluations["jacobian"]).toBeUndefined();
});

test("a parameter no residual depends on: damped away, or named when nothing may be damped", async () => {
  const flat: LeastSquaresProblem = {
    residuals: ([x = 0]) => [x - 3, 2 * x],
    jacobian: () => [1, 0, 2, 0],
  };
  for (const options of [{}, { damping: 0 }, { scaling: "diagonal" as const }]) {
    const { result } = await path(flat, from(10, 5), options);
    expect(result.status).toBe("converged");
    expect(result.x[0]).toBeCloseTo(0.6, 6);
    expect(result.x[1]).toBe(5);
  }
  const { result } = await path(flat, from(10, 5), { damping: 0, adaptive: false });
  expect(result.status).toBe("notPositiveDefinite");
  expect(result.reason).toMatch(/singular/);
  expect(result.x).toEqual(from(10, 5));
});

test("a least value above 0 is reached as far as its digits allow", async () => {
  const data = Array.from({ length: 20 }, (_, i) => ({
    t: i / 4,
    y: 2.5 * Math.exp(-0.7 * (i / 4)) + 0.05 * Math.sin(9 * i),
  }));
  const problem: LeastSquaresProblem = {
    residuals: ([a = 0, b = 0]) => data.map(({ t, y }) => a * Math.exp(-b * t) - y),
    jacobian: ([a = 0, b = 0]) =>
      data.flatMap(({ t }) => [Math.exp(-b * t), -a * t * Math.exp(-b * t)]),
  };
  const { result } = await path(problem, from(1, 0.1), {});
  expect(result.status).toBe("converged");
  expect(result.gradientNorm).toBeLessThanOrEqual(1e-8);
  expect(result.x[0]).toBeCloseTo(2.5, 1);
  expect(result.x[1]).toBeCloseTo(0.7, 1);
});

test.each<[LevenbergMarquardtOptions, RegExp]>([
  [{ damping: -1 }, /number >= 0 for damping/],
  [{ solve: "qr" as never }, /auto, primal, dual or cg for solve/],
  [{ scaling: "none" as never }, /identity or diagonal for scaling/],
  [{ solve: "cg", scaling: "diagonal" }, /identity, with cg, for scaling/],
  [{ cgTolerance: 2 }, /cgTolerance/],
])("refuses %j", async (options, message) => {
  await expect(levenbergMarquardt(rosenbrock, from(1, 1), options)).rejects.toThrow(message);
});

test("refuses a problem without a Jacobian", async () => {
  const { residuals, jvp, vjp } = linear(tall, [1, 2, 3]);
  await expect(levenbergMarquardt({ residuals }, from(1, 1))).rejects.toThrow(
    /jacobian, or jvp and vjp,/,
  );
  const options = { solve: "primal" } as const;
  await expect(levenbergMarquardt({ residuals, jvp, vjp }, from(1, 1), options)).rejects.toThrow(
    /which these options need/,
  );
});
