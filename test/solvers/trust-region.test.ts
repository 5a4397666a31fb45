import fc from "fast-check";
import { steihaug } from "../../lib/solvers/steihaug.js";
import { trustRegion, type TrustRegionOptions } from "../../lib/solvers/trust-region.js";
import { doubleWell, logSumExp, mapped, quadratic, rosenbrock } from "./problems.js";

const from = (...x: number[]) => Float64Array.from(x);
const inner = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

describe("steihaug", () => {
  const solve = (
    h: readonly number[],
    g: readonly number[],
    radius: number,
    tolerance = 1e-12,
    maxIterations = 50,
  ) =>
    steihaug((v) => Promise.resolve(from(...mapped(h, v))), from(...g), {
      radius,
      tolerance,
      maxIterations,
    });

  test.each([
    [[4, 1, 1, 3], [1, 2], 10, [-0.09090909, -0.63636364], "converged", 2],
    [[4, 1, 1, 3], [1, 2], 0.3, [-0.13416408, -0.26832816], "boundary", 1],
    [[2, 0, 0, -1], [0.1, 1], 2, [-0.19900744, -1.99007438], "negativeCurvature", 1],
    [[3, 0, 0, -1], [1, 0.5], 10, [-2.04800619, -9.78803712], "negativeCurvature", 2],
  ] as const)("H = %j, g = %j, radius %p", async (h, g, radius, z, end, iterations) => {
    const step = await solve(h, g, radius);
    step.z.forEach((value, i) => {
      expect(value).toBeCloseTo(z[i]!, 8);
    });
    expect([step.end, step.iterations]).toEqual([end, iterations]);
  });

  test("the change of the model", async () => {
    expect((await solve([2, 0, 0, -1], [0.1, 1], 2)).change).toBeCloseTo(-3.95056918, 8);
  });

  const entry = fc.double({ min: -3, max: 3, noNaN: true });
  test("within the radius, at least as good as the Cauchy point; monotone along the iterations", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 6, maxLength: 6 }),
        fc.array(entry, { minLength: 3, maxLength: 3 }),
        fc.double({ min: 0.05, max: 5, noNaN: true }),
        async ([a, b, c, d, e, f], g, radius) => {
          const h = [a!, b!, c!, b!, d!, e!, c!, e!, f!];
          const size = Math.hypot(...g);
          if (size < 1e-3) return;
          const model = (z: ArrayLike<number>) => inner(g, z) + inner(z, mapped(h, z)) / 2;
          const curvature = inner(g, mapped(h, g));
          const most = radius / size;
          const t = curvature > 0 ? Math.min(most, size ** 2 / curvature) : most;
          const cauchy = model(g.map((value) => -t * value));
          let [last, length] = [0, 0];
          for (let iterations = 1; iterations <= 3; iterations++) {
            const step = await solve(h, g, radius, 1e-12, iterations);
            expect(Math.hypot(...step.z)).toBeLessThanOrEqual(radius * (1 + 1e-12));
            expect(step.change).toBeCloseTo(model(step.z), 8);
            expect(step.change).toBeLessThanOrEqual(cauchy + 1e-9);
            expect(step.change).toBeLessThanOrEqual(last + 1e-9);
            expect(Math.hypot(...step.z)).toBeGreaterThanOrEqual(length - 1e-9);
            [last, length] = [step.change, Math.hypot(...step.z)];
          }
        },
      ),
    );
  });
});

describe("trustRegion", () => {
  test.each([
    ["products", true],
    ["the whole Hessian", false],
  ])("the bottom of a curved valley, by %s", async (_, products) => {
    const { hessian, hvp, ...first } = rosenbrock;
    const problem = products ? { ...first, hvp } : { ...first, hessian };
    const result = await trustRegion(problem, from(-1.2, 1), { gradientTolerance: 1e-10 });
    expect(result.status).toBe("converged");
    expect(Math.hypot(result.x[0]! - 1, result.x[1]! - 1)).toBeLessThan(1e-9);
    const taken = result.trace.filter((point) => point.accepted);
    taken.slice(1).forEach((point, k) => {
      expect(point.value).toBeLessThan(taken[k]!.value);
    });
    expect(result.trace.some((point) => !point.accepted && point.iteration > 0)).toBe(true);
  });

  test("near a minimum the ratio is 1 and ||g|| squares", async () => {
    const { trace } = await trustRegion(logSumExp, from(1, -0.5), { gradientTolerance: 1e-13 });
    const norms = trace.map((point) => point.gradientNorm);
    const last = trace.length - 1;
    expect(trace[last - 1]!.ratio).toBeCloseTo(1, 2);
    expect(norms[last]!).toBeLessThan(10 * norms[last - 1]! ** 1.5);
    expect(norms[last - 1]!).toBeLessThan(10 * norms[last - 2]! ** 1.5);
    expect(trace[last]!.end).toBe("converged");
  });

  test("goes down from beside a saddle, along negative curvature", async () => {
    const result = await trustRegion(doubleWell, from(1e-3, 1));
    expect(result.status).toBe("converged");
    expect(result.value).toBeCloseTo(-0.25, 10);
    expect(result.trace.some((point) => point.end === "negativeCurvature")).toBe(true);
  });

  test("the filter of the heat step from noise-free data, within three products", async () => {
    // u' = u + filter * u on a ring: the loss is quadratic in the filter (r, -2r, r).
    const r = 0.25;
    const u = [0.3, 1, -0.7, 2, 0.1, -1.3, 0.8, 0.4];
    const patches = u.map((value, i) => [u.at(i - 1)!, value, u[(i + 1) % u.length]!]);
    const targets = patches.map(([left, middle, right]) => r * (left! - 2 * middle! + right!));
    const h = [0, 1, 2].flatMap((i) =>
      [0, 1, 2].map((j) =>
        inner(
          patches.map((p) => p[i]!),
          patches.map((p) => p[j]!),
        ),
      ),
    );
    const b = [0, 1, 2].map((i) =>
      inner(
        patches.map((p) => p[i]!),
        targets,
      ),
    );
    const result = await trustRegion(quadratic(h, b), from(0, 0, 0), {
      radius: 100,
      gradientTolerance: 0.5,
    });
    expect(result.iterations).toBe(1);
    const exact = await trustRegion(quadratic(h, b), from(0, 0, 0), {
      radius: 100,
      gradientTolerance: 1e-12,
    });
    [r, -2 * r, r].forEach((value, i) => {
      expect(exact.x[i]).toBeCloseTo(value, 10);
    });
  });

  test("outside the domain the step is refused and the radius shrinks", async () => {
    const problem = {
      value: ([x = 0]: Float64Array) => x - Math.log(x),
      gradient: ([x = 0]: Float64Array) => [1 - 1 / x],
      hessian: ([x = 0]: Float64Array) => [1 / (x * x)],
    };
    const result = await trustRegion(problem, from(5), { radius: 50, maxRadius: 60 });
    expect(result.trace[1]).toMatchObject({ accepted: false, ratio: -1, stepNorm: 0 });
    expect(result.trace[2]!.radius).toBeLessThan(result.trace[1]!.radius);
    expect(result.status).toBe("converged");
    expect(result.x[0]).toBeCloseTo(1, 5);
  });

  test("a saddle it starts on is where it ends", async () => {
    const result = await trustRegion(doubleWell, from(0, 0));
    expect([result.status, result.iterations]).toEqual(["converged", 0]);
  });

  test.each<[TrustRegionOptions, RegExp]>([
    [{ radius: 0 }, /number > 0 for radius/],
    [{ radius: 5, maxRadius: 4 }, /number >= 5 for maxRadius/],
    [{ eta: 0.5 }, /number >= 0 and <= 0.25 for eta/],
    [{ maxCgIterations: 0 }, /maxCgIterations/],
  ])("refuses %j", async (options, message) => {
    await expect(trustRegion(logSumExp, from(1, 1), options)).rejects.toThrow(message);
  });
});
