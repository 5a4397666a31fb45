import fc from "fast-check";
import { cubicStep } from "../../lib/solvers/cubic-step.js";
import { eigh } from "../../lib/solvers/dense.js";
import { lazyNewton, type LazyNewtonOptions } from "../../lib/solvers/lazy-newton.js";
import { doubleWell, logSumExp, quadratic, rosenbrock } from "./problems.js";

const from = (...x: number[]) => Float64Array.from(x);

describe("the cubic model's minimum", () => {
  test.each([
    [[-2, 1], [0.1, 1], 6, 0.71837239, [-0.64467393, -0.31694544]],
    // The specification prints r = 0.45963668; the root, in 30 digits by bisection, is 0.459636778807...
    [[1, 4], [1, 1], 6, 0.45963678, [-0.42036053, -0.18591126]],
    [[0], [1], 6, 0.57735027, [-0.57735027]],
    // The hard case.
    [[-2, 1], [0, 1], 6, 2 / 3, [0.57735027, -1 / 3]],
    [[-2, 1], [0, 0], 6, 2 / 3, [2 / 3, 0]],
    [[1, 2], [0, 0], 6, 0, [0, 0]],
  ])("w = %j, c = %j, M = %p", (w, c, m, r, d) => {
    const step = cubicStep(from(...w), from(...c), m);
    expect(step.r).toBeCloseTo(r, 8);
    step.d.forEach((value, i) => {
      expect(value).toBeCloseTo(d[i]!, 8);
    });
  });

  const number = fc
    .double({ min: -10, max: 10, noNaN: true })
    .map((value) => (Math.abs(value) < 1e-30 ? 0 : value));
  const tiny = fc.constantFrom(0, 1e-300, 1e-16, -1e-12, 1e-8);
  test("is stationary, and the shifted matrix positive semidefinite", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(number, fc.oneof(number, tiny)), { minLength: 1, maxLength: 6 }),
        fc.constantFrom(1e-6, 0.1, 6, 1e4),
        (pairs, m) => {
          const ordered = [...pairs].sort(([a], [b]) => a - b);
          const w = Float64Array.from(ordered, ([value]) => value);
          const c = Float64Array.from(ordered, ([, value]) => value);
          const { d, r } = cubicStep(w, c, m);
          expect(Math.abs(Math.hypot(...d) - r)).toBeLessThanOrEqual(1e-12 * r);
          const scale = Math.max(1, ...w.map(Math.abs), (m * r) / 2);
          expect(w[0]! + (m * r) / 2).toBeGreaterThanOrEqual(-1e-12 * scale);
          w.forEach((value, i) => {
            const residual = (value + (m * r) / 2) * d[i]! + c[i]!;
            expect(Math.abs(residual)).toBeLessThanOrEqual(1e-10 * scale * Math.max(1, r));
          });
        },
      ),
      { numRuns: 2000 },
    );
  });
});

test("eigh: vectors of length one, the matrix again, ascending values", async () => {
  const n = 7;
  const random = (k: number) => Math.sin(12.9898 * (k + 1)) * 43.7585;
  const a = Float64Array.from({ length: n * n }, (_, k) => {
    const [i, j] = [Math.floor(k / n), k % n];
    return random(Math.max(i, j) * n + Math.min(i, j));
  });
  const { values, vectors } = (await eigh(a, n))!;
  const scale = Math.hypot(...a);
  for (let i = 0; i < n; i++) {
    if (i > 0) expect(values[i]!).toBeGreaterThanOrEqual(values[i - 1]!);
    for (let j = 0; j < n; j++) {
      let [sum, inner] = [0, 0];
      for (let k = 0; k < n; k++) {
        sum += values[k]! * vectors[k]![i]! * vectors[k]![j]!;
        inner += vectors[i]![k]! * vectors[j]![k]!;
      }
      expect(Math.abs(sum - a[i * n + j]!)).toBeLessThan(1e-14 * n * scale);
      expect(Math.abs(inner - (i === j ? 1 : 0))).toBeLessThan(1e-14 * n);
    }
  }
  expect(await eigh(from(NaN, 1, 1, 1), 2)).toBeUndefined();
  expect([...(await eigh(new Float64Array(4), 2))!.values]).toEqual([0, 0]);
});

const firstNorms = 1.06885269;
test.each([
  [1, [0.7198426, 0.42548108, 0.24990423, 0.13439625, 0.06164042, 0.0224303, 0.00575954]],
  [3, [0.7198426, 0.36243725, 0.19636704, 0.10024601, 0.03999016, 0.01244167, 0.00234476]],
])("log-sum-exp, quadratic model, M = 1, a Hessian every %d", async (hessianEvery, norms) => {
  const options = {
    model: "quadratic",
    regularization: 1,
    hessianEvery,
    maxIterations: 7,
  } as const;
  const { trace, evaluations } = await lazyNewton(logSumExp, from(2, -1), options);
  [firstNorms, ...norms].forEach((value, k) => {
    expect(trace[k]!.gradientNorm).toBeCloseTo(value, 8);
  });
  expect(trace.slice(1).map((point) => point.hessianAge)).toEqual(
    norms.map((_, k) => k % hessianEvery),
  );
  // The last one is due before the run learns that no iteration is left.
  expect(evaluations["hessian"]).toBe(hessianEvery === 1 ? 8 : 3);
});

test("on a quadratic a late Hessian changes nothing", async () => {
  const problem = quadratic([4, 1, 1, 3], [1, 2]);
  const paths: number[][][] = [];
  for (const hessianEvery of [1, 2, 5]) {
    const path: number[][] = [];
    const onIteration: LazyNewtonOptions["onIteration"] = (_, x) => path.push([...x]);
    await lazyNewton(problem, from(3, -2), {
      hessianEvery,
      regularization: 2,
      maxIterations: 6,
      onIteration,
    });
    paths.push(path);
  }
  expect(paths[1]).toEqual(paths[0]);
  expect(paths[2]).toEqual(paths[0]);
  expect(paths[0]).toHaveLength(7);
});

test("M near 0 on a convex function is Newton's method", async () => {
  const { trace, x } = await lazyNewton(quadratic([4, 1, 1, 3], [1, 2]), from(3, -2), {
    regularization: 1e-14,
  });
  expect(trace[1]!.gradientNorm).toBeLessThan(1e-12);
  expect(x[0]).toBeCloseTo(1 / 11, 10);
});

test.each([1, 3, 10])(
  "leaves the saddle it starts on, a Hessian every %d",
  async (hessianEvery) => {
    const result = await lazyNewton(doubleWell, from(0, 0), { hessianEvery });
    expect(result.status).toBe("converged");
    expect(Math.abs(result.x[0]!)).toBeCloseTo(1, 6);
    expect(result.value).toBeCloseTo(-0.25, 12);
  },
);

test.each([1, 2, 5])(
  "finds the bottom of a curved valley, a Hessian every %d",
  async (hessianEvery) => {
    const result = await lazyNewton(rosenbrock, from(-1.2, 1), {
      hessianEvery,
      maxIterations: 2000,
    });
    expect(result.status).toBe("converged");
    expect(Math.hypot(result.x[0]! - 1, result.x[1]! - 1)).toBeLessThan(1e-6);
    const values = result.trace.map((point) => point.value);
    values.slice(1).forEach((value, k) => {
      expect(value).toBeLessThan(values[k]!);
    });
  },
);

test("the quadratic model does not pretend that f is convex", async () => {
  const options = { model: "quadratic", regularization: 1e-3 } as const;
  const result = await lazyNewton(doubleWell, from(0.1, 0.5), options);
  expect(result.status).toBe("notPositiveDefinite");
  expect(result.reason).toMatch(/not convex here/);
  expect(result.x).toEqual(from(0.1, 0.5));
});

test("L sets M to 6 m L or 3 m L", async () => {
  for (const [model, factor] of [
    ["cubic", 6],
    ["quadratic", 3],
  ] as const) {
    const options = { model, lipschitz: 0.5, hessianEvery: 4, maxIterations: 1 };
    const { trace } = await lazyNewton(logSumExp, from(2, -1), options);
    expect(trace[1]!.regularization).toBe(factor * 4 * 0.5);
  }
});

test.each<[LazyNewtonOptions, RegExp]>([
  [{ hessianEvery: 0 }, /hessianEvery but received 0/],
  [{ model: "linear" as never }, /cubic or quadratic for model/],
  [{ regularization: 0 }, /number > 0 for regularization/],
  [{ regularization: 1, lipschitz: 1 }, /one of regularization and lipschitz/],
  [{ gradientTolerance: -1 }, /number >= 0 for gradientTolerance/],
])("refuses %j", async (options, message) => {
  await expect(lazyNewton(logSumExp, from(2, -1), options)).rejects.toThrow(message);
});

test("refuses a problem without a Hessian", async () => {
  const { value, gradient, hvp } = logSumExp;
  await expect(lazyNewton({ value, gradient, hvp }, from(2, -1))).rejects.toThrow(
    /hessian for problem/,
  );
});
