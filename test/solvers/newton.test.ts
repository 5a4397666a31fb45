import { newton, type NewtonOptions } from "../../lib/solvers/newton.js";
import { aicnStep, mnStep, rnStep, type NewtonStep } from "../../lib/solvers/newton-steps.js";
import { inCoordinates, logCosh, logSumExp, mapped, quadratic, rosenbrock } from "./problems.js";

const from = (...x: number[]) => Float64Array.from(x);

/** All points of a run. */
async function path(
  problem: Parameters<typeof newton>[0],
  x0: Float64Array,
  options: NewtonOptions,
) {
  const points: number[][] = [];
  const result = await newton(problem, x0, {
    ...options,
    onIteration: (_, x) => points.push([...x]),
  });
  return { points, result };
}

describe("step sizes", () => {
  test.each([
    [0.01, 0.9950493836],
    [0.1, 0.9544511501],
    [0.5, 0.8284271247],
    [1, 0.7320508076],
    [2, 0.6180339887],
    [10, 0.3582575695],
    [100, 0.1317744688],
    [1e4, 0.0140424892],
    [1e-8, 0.999999995],
  ])("AICN at LG = %p, and MN with q = 3 and M = L/2", (lg, a) => {
    expect(aicnStep(1)(lg)).toBeCloseTo(a, 10);
    expect(aicnStep(lg / 7)(7)).toBeCloseTo(a, 10);
    expect(mnStep(0.5, 3)(lg)).toBeCloseTo(a, 10);
  });

  test.each([
    [2.5, 3, 0.3],
    [0.7, 4, 12],
    [3, 2, 5],
    [1e-12, 2.5, 1e-9],
    [1e200, 4, 1e100],
  ])("MN with M = %p, q = %p, G = %p is the root of its equation", (m, q, g) => {
    const a = mnStep(m, q)(g);
    const c = m * g ** (q - 2);
    expect(a).toBeGreaterThanOrEqual(0);
    if (c < Infinity) expect(c * a ** (q - 1) + a).toBeCloseTo(1, 10);
  });

  test("RN by its formula", () => {
    // q = 3: s = (9 M G)^(1/2).
    expect(rnStep(2.5, 3)(1.6)).toBeCloseTo(1 / (1 + 6), 12);
    expect(rnStep(3, 2)(99)).toBeCloseTo(1 / (1 + 27), 12);
  });
});

describe("log cosh x + 0.05 x^2 from 2", () => {
  test.each<[NewtonStep, number[], number]>([
    [{ rule: "classic" }, [2, -4.82, 9.96, -9.99999817, 9.99999831], 2],
    [{ rule: "aicn", lipschitz: 5 }, [2, -0.13104332, -0.02686843, -0.00165461, -0.00000711, 0], 8],
    [{ rule: "mn", order: 4, lipschitz: 5 / 6 }, [2, -0.99616602, 0.09052505, 0.00022007, 0], 8],
    [{ rule: "rn", order: 3, lipschitz: 2.5 }, [2, 1.2389, 0.8761, 0.6495], 4],
  ])("%j", async (step, points, digits) => {
    const options = { step, maxIterations: points.length - 1, tolerance: 0 };
    const run = await path(logCosh, from(2), options);
    points.forEach((x, i) => {
      expect(run.points[i]![0]).toBeCloseTo(x, digits === 2 && i > 2 ? 8 : digits);
    });
  });

  test("AICN's first step sizes", async () => {
    const { result } = await path(logCosh, from(2), { step: { rule: "aicn", lipschitz: 5 } });
    const sizes = result.trace.map((point) => point.stepSize);
    [0, 0.31241897, 0.78676178, 0.93800755].forEach((size, i) => {
      expect(sizes[i]).toBeCloseTo(size, 8);
    });
    expect(result.status).toBe("converged");
    expect(Math.abs(result.x[0]!)).toBeLessThan(1e-8);
  });

  test("where Newton's method diverges, the best point is kept", async () => {
    const { result } = await path(logCosh, from(2), {
      step: { rule: "classic" },
      maxIterations: 20,
    });
    expect(result.status).toBe("maxIterations");
    expect(result.x).toEqual(from(2));
    expect(result.trace).toHaveLength(21);
  });
});

const rules: NewtonStep[] = [
  { rule: "classic" },
  { rule: "aicn", lipschitz: 3 },
  { rule: "rn", order: 3, lipschitz: 0.5 },
  { rule: "rn", order: 4, lipschitz: 0.5 },
  { rule: "mn", order: 3, lipschitz: 1 },
  { rule: "mn", order: 4, lipschitz: 1 },
  { rule: "grls" },
  { rule: "un" },
  { rule: "gradReg" },
];

describe.each(rules)("%j", (step) => {
  const a = [2, 1, -0.5, 3];
  const start = from(0.8, -0.6);

  test(
    step.rule === "gradReg" ? "depends on the coordinates" : "is the same in any coordinates",
    async () => {
      const one = await path(logSumExp, Float64Array.from(mapped(a, start)), { step });
      const other = await path(inCoordinates(logSumExp, a), start, { step });
      const shared = Math.min(one.points.length, other.points.length, 6);
      expect(shared).toBeGreaterThan(3);
      const distances = one.points
        .slice(0, shared)
        .map((x, k) => Math.hypot(...mapped(a, other.points[k]!).map((value, i) => value - x[i]!)));
      // Golden section finds its step to sqrt(eps) only.
      const bound = step.rule === "grls" ? 1e-6 : 1e-10;
      if (step.rule === "gradReg") expect(Math.max(...distances)).toBeGreaterThan(1e-3);
      else expect(Math.max(...distances)).toBeLessThan(bound);
    },
  );

  test("finds the minimum, with the whole Hessian or with products of it", async () => {
    const { hessian, hvp, ...first } = logSumExp;
    const options = { step, maxIterations: 5000, tolerance: 1e-7 };
    for (const problem of [
      { ...first, hessian },
      { ...first, hvp },
    ]) {
      const result = await newton(problem, from(2, -1), options);
      // RN's steps stay short near the end: its decrement falls slower than the others'.
      expect(result.status).toBe("converged");
      expect(result.gradientNorm).toBeLessThan(1e-6);
      expect(Math.hypot(...result.x)).toBeLessThan(1e-6);
      expect(result.value).toBeCloseTo(Math.log(3), 10);
    }
  });
});

describe("a quadratic", () => {
  const h = [4, 1, 1, 3];

  test("is done in one step when L = 0", async () => {
    const result = await newton(quadratic(h, [1, 2]), from(5, -7), {
      step: { rule: "aicn", lipschitz: 0 },
    });
    expect(result.iterations).toBe(1);
    expect(result.x[0]).toBeCloseTo(1 / 11, 12);
    expect(result.x[1]).toBeCloseTo(7 / 11, 12);
  });

  test("shrinks the decrement by exactly 1 - a", async () => {
    const { trace } = await newton(quadratic(h, [1, 2]), from(5, -7), { step: { rule: "aicn" } });
    for (let k = 1; k + 1 < trace.length && trace[k + 1]!.decrement > 1e-5; k++) {
      const ratio = trace[k + 1]!.decrement / trace[k]!.decrement;
      expect(ratio).toBeCloseTo(1 - trace[k]!.stepSize, 8);
    }
    expect(trace.length).toBeGreaterThan(5);
  });
});

test("AICN converges quadratically: 1 - a = L G / 2 near the end", async () => {
  const { trace } = await newton(logSumExp, from(1, -0.5), {
    step: { rule: "aicn", lipschitz: 1 },
  });
  const last = trace.filter(({ decrement }) => decrement < 0.05 && decrement > 1e-6);
  expect(last.length).toBeGreaterThan(1);
  for (const { decrement, stepSize } of last) {
    expect((1 - stepSize) / (decrement / 2)).toBeCloseTo(1, 1);
  }
});

test("where f is not convex the run ends there, and says so", async () => {
  for (const products of [false, true]) {
    const { hessian, hvp, ...first } = rosenbrock;
    const problem = products ? { ...first, hvp } : { ...first, hessian };
    const result = await newton(problem, from(0, 1));
    expect(result.status).toBe("notPositiveDefinite");
    expect(result.reason).toMatch(/not convex here; lazyNewton and trustRegion/);
    // Conjugate gradients to 0.1 may still find a step down.
    if (products) expect(result.value).toBeLessThanOrEqual(50.5);
    else expect([...result.x, result.value]).toEqual([0, 1, 50.5]);
  }
});

test("a Hessian that round-off left singular is factored with a little added, and the trace says how much", async () => {
  // Rank one: f does not depend on x1 - x2.
  const result = await newton(quadratic([1, 1, 1, 1], [2, 2]), from(5, 3), {
    step: { rule: "classic" },
  });
  expect(result.status).toBe("converged");
  expect(result.trace[1]!.jitter).toBeCloseTo(1e-10, 15);
  expect(result.x[0]! + result.x[1]!).toBeCloseTo(2, 6);
});

test.each<[object, RegExp]>([
  [{ step: { rule: "newton" } }, /classic, aicn.* for step\.rule but received "newton"/],
  [{ step: { rule: "aicn", lipschitz: -1 } }, /number >= 0 for lipschitz but received -1/],
  [{ step: { rule: "mn", order: 5 } }, /number >= 2 and <= 4 for order but received 5/],
  [{ step: { rule: "un", growth: 1 } }, /number > 1 for growth but received 1/],
  [{ step: { rule: "classic", step: 0 } }, /number > 0 for step but received 0/],
  [{ tolerance: NaN }, /for tolerance but received NaN/],
])("refuses %j", async (options, message) => {
  await expect(newton(logCosh, from(2), options as NewtonOptions)).rejects.toThrow(message);
});

test("refuses a problem without second derivatives", async () => {
  const { value, gradient } = logCosh;
  await expect(newton({ value, gradient }, from(2))).rejects.toThrow(/hessian or hvp for problem/);
});
