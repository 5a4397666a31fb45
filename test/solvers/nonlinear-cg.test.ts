import {
  type CgRule,
  nonlinearCG,
  type NonlinearCgOptions,
} from "../../lib/solvers/nonlinear-cg.js";
import type { Precision } from "../../lib/solvers/precision.js";
import type { Vector } from "../../lib/solvers/types.js";
import { logSumExp, quadratic, rosenbrock } from "./problems.js";

const from = (...x: number[]) => Float64Array.from(x);
const rules: CgRule[] = ["PR", "FR", "HS", "DY"];

describe("on a quadratic with exact steps", () => {
  test.each(rules)("%s: the steps of linear conjugate gradients, done in n", async (rule) => {
    const path: number[][] = [];
    const onIteration: NonlinearCgOptions<Float64Array>["onIteration"] = (_, x) =>
      path.push([...x]);
    const options = { rule, lineSearch: "exact", onIteration } as const;
    const { trace, status, iterations } = await nonlinearCG(
      quadratic([4, 1, 1, 3], [1, 2]),
      from(0, 0),
      options,
    );
    expect(trace[1]!.stepSize).toBeCloseTo(0.25, 8);
    expect(trace[2]!.stepSize).toBeCloseTo(0.36363636, 8);
    expect(trace[2]!.beta).toBeCloseTo(0.0625, 8);
    [
      [0.25, 0.5],
      [0.09090909, 0.63636364],
    ].forEach((x, k) => {
      x.forEach((value, i) => {
        expect(path[k + 1]![i]).toBeCloseTo(value, 8);
      });
    });
    expect([status, iterations]).toEqual(["converged", 2]);
  });

  test("directions are conjugate, PR is FR, n steps are enough", async () => {
    const n = 8;
    const q = Array.from({ length: n * n }, (_, k) => Math.sin(7.3 * k * k + k));
    const h = Array.from({ length: n * n }, (_, k) => {
      const [i, j] = [Math.floor(k / n), k % n];
      let sum = i === j ? 4 : 0;
      for (let a = 0; a < n; a++) sum += q[i * n + a]! * q[j * n + a]!;
      return sum;
    });
    const problem = quadratic(
      h,
      Array.from({ length: n }, (_, i) => i - 3),
    );
    const paths: number[][][] = [];
    for (const rule of ["PR", "FR"] as const) {
      const path: number[][] = [];
      const onIteration: NonlinearCgOptions<Float64Array>["onIteration"] = (_, x) =>
        path.push([...x]);
      const options = { rule, lineSearch: "exact", onIteration, gradientTolerance: 1e-9 } as const;
      const result = await nonlinearCG(problem, new Float64Array(n), options);
      expect(result.status).toBe("converged");
      expect(result.iterations).toBeLessThanOrEqual(n);
      paths.push(path);
    }
    paths[0]!.forEach((x, k) => {
      x.forEach((value, i) => {
        expect(Math.abs(value - paths[1]![k]![i]!)).toBeLessThan(1e-8);
      });
    });
    const steps = paths[0]!.slice(1).map((x, k) => x.map((value, i) => value - paths[0]![k]![i]!));
    const energy = (a: number[], b: number[]) =>
      a.reduce(
        (sum, value, i) =>
          sum + value * b.reduce((inner, other, j) => inner + h[i * n + j]! * other, 0),
        0,
      );
    steps.forEach((a, i) => {
      steps.slice(0, i).forEach((b) => {
        const size = Math.sqrt(energy(a, a) * energy(b, b));
        expect(Math.abs(energy(a, b))).toBeLessThan(1e-10 * size);
      });
    });
  });
});

describe("single and double precision", () => {
  const n = 100;

  /** 1/2 sum_i w_i x_i^2, w from 1 to 1e-4, in the arithmetic of the vectors it is given. */
  function spread<V extends Vector>(single: boolean) {
    const round = single ? Math.fround : (value: number) => value;
    const w = Array.from({ length: n }, (_, i) => round(10 ** ((-4 * i) / (n - 1))));
    return {
      value: (x: V) =>
        Array.from(x).reduce(
          (sum, value, i) => round(sum + round(round(w[i]! * value) * value)),
          0,
        ) / 2,
      gradient: (x: V) => Array.from(x, (value, i) => round(w[i]! * value)),
      hvp: (_: V, v: V) => Array.from(v, (value, i) => round(w[i]! * value)),
    };
  }

  const after = async (precision: Precision, iterations: number[]) => {
    const options = {
      precision,
      lineSearch: "exact",
      maxIterations: Math.max(...iterations),
      gradientTolerance: 0,
      restartEvery: 1e9,
    } as const;
    const ones = new Float64Array(n).fill(1);
    const { trace } =
      precision === "float64"
        ? await nonlinearCG(spread<Float64Array>(false), ones, options)
        : await nonlinearCG(spread<Float32Array>(true), Float32Array.from(ones), options);
    return iterations.map((k) => (trace[k]?.value ?? NaN) / trace[0]!.value);
  };

  // After 400 steps rounding rules: summing the float64 dot products in other orders gave 0.6e-22 to 4.7e-22.
  test.each<[Precision, number[], number[]]>([
    ["float64", [9.5e-5, 1.5e-6, 5.36e-11, 1.5e-22], [3, 3, 3, 5]],
    ["float32", [1.66e-4, 9.3e-6, 2.4e-8, 4.2e-14], [3, 3, 3, 3]],
  ])("%s: f / f0 after 50, 100, 200, 400 exact steps", async (precision, wanted, factors) => {
    const ratios = await after(precision, [50, 100, 200, 400]);
    ratios.forEach((ratio, k) => {
      expect(ratio).toBeLessThan(factors[k]! * wanted[k]!);
      expect(ratio).toBeGreaterThan(wanted[k]! / factors[k]!);
    });
  });

  /** Least at (ln 2, ln 3), which no float holds, and not 0 there. */
  function transcendental<V extends Vector>(round: (value: number) => number) {
    return {
      value: (x: V) => round(Math.exp(x[0]!) - 2 * x[0]! + Math.exp(x[1]!) - 3 * x[1]!),
      gradient: (x: V) => [Math.exp(x[0]!) - 2, Math.exp(x[1]!) - 3],
    };
  }

  test("vectors stay what they are; the floor is that of the precision, not of its square root", async () => {
    const options = { gradientTolerance: 0, maxIterations: 500 };
    const wide = await nonlinearCG(
      transcendental<Float64Array>((v) => v),
      from(2, -1),
      options,
    );
    expect(wide.x).toBeInstanceOf(Float64Array);
    expect(["stalled", "converged"]).toContain(wide.status);
    expect(wide.gradientNorm).toBeLessThan(1e-14);
    for (const precision of ["float32", "mixed"] as const) {
      const round = precision === "float32" ? Math.fround : (v: number) => v;
      const start = Float32Array.of(2, -1);
      const single = await nonlinearCG(transcendental<Float32Array>(round), start, {
        ...options,
        precision,
      });
      expect(single.x).toBeInstanceOf(Float32Array);
      expect(single.status).toBe("stalled");
      expect(single.gradientNorm).toBeLessThan(1e-6);
      expect(single.gradientNorm).toBeGreaterThan(1e-10);
    }
  });
});

test.each(rules)("%s with strong Wolfe steps finds the bottom of a curved valley", async (rule) => {
  const result = await nonlinearCG(rosenbrock, from(-1.2, 1), {
    rule,
    restartEvery: 20,
    maxIterations: 5000,
    gradientTolerance: 1e-9,
  });
  expect(result.status).toBe("converged");
  expect(Math.hypot(result.x[0]! - 1, result.x[1]! - 1)).toBeLessThan(1e-7);
});

test("restarts every so many iterations with steepest descent", async () => {
  const { trace } = await nonlinearCG(rosenbrock, from(-1.2, 1), {
    rule: "FR",
    restartEvery: 3,
    maxIterations: 12,
  });
  expect(trace[1]!.beta).toBe(0);
  trace.forEach((point, k) => {
    if (k % 3 === 1) expect(point.beta).toBe(0);
  });
  expect(
    (
      await nonlinearCG(rosenbrock, from(-1.2, 1), { restartEvery: 1, maxIterations: 9 })
    ).trace.every((p) => p.beta === 0),
  ).toBe(true);
});

test.each<[object, RegExp]>([
  [{ rule: "XX" }, /PR, FR, HS or DY for rule/],
  [{ precision: "float16" }, /float64, mixed or float32 for precision/],
  [{ precision: "float32" }, /a Float32Array for x0/],
  [{ restartEvery: 0 }, /restartEvery/],
  [{ gradientTolerance: NaN }, /gradientTolerance/],
])("refuses %j", async (options, message) => {
  const run = nonlinearCG(logSumExp, from(1, 1), options as NonlinearCgOptions<Float64Array>);
  await expect(run).rejects.toThrow(message);
});

test("refuses float64 for a Float32Array", async () => {
  const run = nonlinearCG(logSumExp as never, Float32Array.of(1, 1), { precision: "float64" });
  await expect(run).rejects.toThrow(/a Float64Array for x0/);
});
