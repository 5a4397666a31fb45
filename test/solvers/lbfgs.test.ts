import fc from "fast-check";
import { lbfgs, type LbfgsOptions } from "../../lib/solvers/lbfgs.js";
import { LbfgsMemory } from "../../lib/solvers/lbfgs-memory.js";
import { logSumExp, mapped, quadratic, rosenbrock, shifted } from "./problems.js";

const from = (...x: number[]) => Float64Array.from(x);
const inner = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

const vectors = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), {
  minLength: 4,
  maxLength: 4,
});

describe("the memory", () => {
  /** H <- (I - s y^T / sy) H (I - y s^T / sy) + s s^T / sy, dense, from the scale of the newest pair. */
  function dense(pairs: { s: number[]; y: number[] }[], history: number): number[] {
    const kept = pairs.slice(-history);
    const n = kept[0]!.s.length;
    const newest = kept.at(-1)!;
    const scale = inner(newest.s, newest.y) / inner(newest.y, newest.y);
    let h = Array.from({ length: n * n }, (_, k) => (k % (n + 1) === 0 ? scale : 0));
    for (const { s, y } of kept) {
      const rho = 1 / inner(s, y);
      const left = Array.from(h, (_, k) => {
        const [i, j] = [Math.floor(k / n), k % n];
        const row = Array.from({ length: n }, (_, a) => h[a * n + j]!);
        return h[k]! - rho * s[i]! * inner(y, row);
      });
      h = left.map((value, k) => {
        const [i, j] = [Math.floor(k / n), k % n];
        return value - rho * inner(left.slice(i * n, (i + 1) * n), y) * s[j]! + rho * s[i]! * s[j]!;
      });
    }
    return h;
  }

  test("is BFGS from the same scale, written out", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(vectors, vectors), { minLength: 1, maxLength: 6 }),
        vectors,
        (raw, g) => {
          // y = s + a little of the other vector: positive curvature, condition numbers that float64 can bear.
          const pairs = raw
            .map(([s, other]) => ({ s, y: s.map((value, i) => value + 0.2 * other[i]!) }))
            .filter(({ s, y }) => inner(s, y) > 0.1 * inner(s, s) && inner(s, s) > 0.1);
          if (pairs.length === 0) return;
          const memory = new LbfgsMemory(3, "skip");
          for (const { s, y } of pairs) memory.add(from(...s), from(...y));
          expect(memory.size).toBe(Math.min(3, pairs.length));
          const product = memory.times(from(...g));
          const wanted = mapped(dense(pairs, 3), g);
          product.forEach((value, i) => {
            expect(Math.abs(value - wanted[i]!)).toBeLessThan(
              1e-8 * Math.max(1, ...wanted.map(Math.abs)),
            );
          });
          // The secant equation for the newest pair.
          const newest = pairs.at(-1)!;
          memory.times(from(...newest.y)).forEach((value, i) => {
            expect(value).toBeCloseTo(newest.s[i]!, 8);
          });
        },
      ),
    );
  });

  test("leaves out a pair without curvature, or damps it", () => {
    const [s, y] = [from(1, 0), from(-1, 2)];
    const skip = new LbfgsMemory(5, "skip");
    skip.add(s, y);
    expect(skip.size).toBe(0);
    expect(skip.times(from(3, 4))).toEqual(from(3, 4));
    const damp = new LbfgsMemory(5, "damp");
    damp.add(s, y);
    expect(damp.size).toBe(1);
    // theta = 0.8 / (1 + 1) = 0.4: y = 0.4 (-1, 2) + 0.6 (1, 0) = (0.2, 0.8), and <s, y> = 0.2.
    expect(damp.scale).toBeCloseTo(0.2 / 0.68, 12);
  });
});

describe("lbfgs", () => {
  test("with exact steps on a quadratic takes the steps of conjugate gradients", async () => {
    const path: number[][] = [];
    const onIteration: LbfgsOptions["onIteration"] = (_, x) => path.push([...x]);
    const result = await lbfgs(quadratic([4, 1, 1, 3], [1, 2]), from(0, 0), {
      lineSearch: "exact",
      onIteration,
    });
    expect(result.trace.map((point) => point.stepSize)[1]).toBeCloseTo(0.25, 8);
    expect(result.trace[2]!.stepSize).toBeCloseTo(1.54545455, 8);
    [
      [0, 0],
      [0.25, 0.5],
      [0.09090909, 0.63636364],
    ].forEach((x, k) => {
      x.forEach((value, i) => {
        expect(path[k]![i]).toBeCloseTo(value, 8);
      });
    });
    expect([result.status, result.iterations]).toEqual(["converged", 2]);
  });

  test.each([
    [1, "skip"],
    [10, "skip"],
    [10, "damp"],
  ] as const)("the bottom of a curved valley, %d pairs, %s", async (history, curvature) => {
    const result = await lbfgs(rosenbrock, from(-1.2, 1), {
      history,
      curvature,
      maxIterations: 1000,
      gradientTolerance: 1e-9,
    });
    expect(result.status).toBe("converged");
    expect(Math.hypot(result.x[0]! - 1, result.x[1]! - 1)).toBeLessThan(1e-8);
    expect(Math.max(...result.trace.map((point) => point.pairs))).toBeLessThanOrEqual(history);
  });

  test("a thousand parameters, condition number 1e4", async () => {
    const n = 1000;
    const weight = (i: number) => 10 ** ((-4 * i) / (n - 1));
    const problem = {
      value: (x: Float64Array) =>
        1 + x.reduce((sum, value, i) => sum + (weight(i) * (value - 1) ** 2) / 2, 0),
      gradient: (x: Float64Array) => x.map((value, i) => weight(i) * (value - 1)),
    };
    // f is 1 at the minimum: its values cannot tell points apart that are nearer than 1e-8, slopes can.
    const result = await lbfgs(problem, new Float64Array(n), {
      maxIterations: 2000,
      gradientTolerance: 1e-10,
    });
    expect(result.status).toBe("converged");
    expect(result.gradientNorm).toBeLessThanOrEqual(1e-10);
    expect(Math.max(...result.x.map((value) => Math.abs(value - 1)))).toBeLessThan(1e-5);
  });

  test("stops where nothing can be gained, and says so", async () => {
    const result = await lbfgs(shifted(logSumExp, [0.3, 0.7]), from(2, -1), {
      gradientTolerance: 0,
    });
    expect(result.status).toBe("stalled");
    expect(result.gradientNorm).toBeLessThan(1e-8);
  });

  test.each<[LbfgsOptions, RegExp]>([
    [{ history: 0 }, /history/],
    [{ curvature: "none" as never }, /skip or damp for curvature/],
    [{ lineSearch: "armijo" as never }, /strongWolfe or exact for lineSearch/],
    [{ gradientTolerance: -1 }, /gradientTolerance/],
  ])("refuses %j", async (options, message) => {
    await expect(lbfgs(logSumExp, from(1, 1), options)).rejects.toThrow(message);
  });

  test("the exact line search needs products", async () => {
    const { value, gradient } = logSumExp;
    const options = { lineSearch: "exact" } as const;
    await expect(lbfgs({ value, gradient }, from(1, 1), options)).rejects.toThrow(/hvp, which/);
  });
});
