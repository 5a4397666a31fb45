/** What every solver does when it is given something bad: a named status, and the best point kept. */
import {
  lazyNewton,
  lbfgs,
  levenbergMarquardt,
  newton,
  nonlinearCG,
  type SecondOrderProblem,
  type SolverOptions,
  type SolverResult,
  trustRegion,
} from "../../lib/solvers/index.js";

/** f = (x^4 + y^2) / 2 as any solver takes it: residuals x^2 and y. */
type Hook = (x: Float64Array) => void;

function problemWith(before: Hook): SecondOrderProblem & {
  residuals: (x: Float64Array) => number[];
  jacobian: (x: Float64Array) => number[];
} {
  const at = <T>(compute: (x: number, y: number) => T) => {
    return (point: Float64Array): T => {
      before(point);
      const [x = NaN, y = NaN] = point;
      return compute(x, y);
    };
  };
  return {
    value: at((x, y) => (x ** 4 + y ** 2) / 2),
    gradient: at((x, y) => [2 * x ** 3, y]),
    hessian: at((x) => [6 * x * x + 1e-9, 0, 0, 1]),
    residuals: at((x, y) => [x * x, y]),
    jacobian: at((x) => [2 * x, 0, 0, 1]),
  };
}

type Solver = (before: Hook, options?: SolverOptions) => Promise<SolverResult>;
const start = () => Float64Array.of(2, -3);
const solvers: readonly [string, Solver][] = [
  ["newton", (before, options) => newton(problemWith(before), start(), options)],
  ["lazyNewton", (before, options) => lazyNewton(problemWith(before), start(), options)],
  ["trustRegion", (before, options) => trustRegion(problemWith(before), start(), options)],
  ["nonlinearCG", (before, options) => nonlinearCG(problemWith(before), start(), options)],
  [
    "levenbergMarquardt",
    (before, options) => levenbergMarquardt(problemWith(before), start(), options),
  ],
  ["lbfgs", (before, options) => lbfgs(problemWith(before), start(), options)],
];

const nothing: Hook = () => undefined;
const worth = ([x = NaN, y = NaN]: Float64Array) => (x ** 4 + y ** 2) / 2;
const atStart = worth(start());

describe.each(solvers)("%s", (_, solve) => {
  test("goes down to the bottom", async () => {
    const { status, x, value } = await solve(nothing);
    expect(["converged", "stalled"]).toContain(status);
    expect(value).toBeLessThan(1e-8);
    expect(Math.abs(worth(x) - value)).toBeLessThanOrEqual(1e-14 * value);
  });

  test("no iterations: the start, with its value", async () => {
    const { status, x, value, iterations } = await solve(nothing, { maxIterations: 0 });
    expect([status, iterations, value]).toEqual(["maxIterations", 0, atStart]);
    expect(x).toEqual(start());
  });

  test("no evaluations: the start, and nothing was called", async () => {
    let calls = 0;
    const { status, x, value } = await solve(() => (calls += 1), { maxEvaluations: 0 });
    expect([status, calls]).toEqual(["maxEvaluations", 0]);
    expect(value).toBeNaN();
    expect(x).toEqual(start());
  });

  test("a budget that ends in the middle is kept, and so is the best point", async () => {
    for (let maxEvaluations = 1; maxEvaluations <= 12; ++maxEvaluations) {
      let calls = 0;
      const { status, x, value, reason } = await solve(() => (calls += 1), { maxEvaluations });
      expect(calls).toBeLessThanOrEqual(maxEvaluations);
      if (status === "maxEvaluations")
        expect(reason).toMatch(new RegExp(`\\b${maxEvaluations}\\b`));
      if (!Number.isNaN(value)) {
        expect(value).toBeLessThanOrEqual(atStart);
        expect(Math.abs(worth(x) - value)).toBeLessThanOrEqual(1e-14 * value);
      }
    }
  });

  test("a function that throws: failed, with the error and the best point", async () => {
    const error = new Error("from the problem");
    for (const last of [1, 2, 5, 9]) {
      let calls = 0;
      const result = await solve(() => {
        calls += 1;
        if (calls >= last) throw error;
      });
      expect(result.status).toBe("failed");
      expect(result.error).toBe(error);
      if (!Number.isNaN(result.value)) expect(result.value).toBeLessThanOrEqual(atStart);
    }
  });

  test("NaN from the start on", async () => {
    const nan: Hook = (x) => x.fill(NaN);
    const { status, x } = await solve(nan);
    expect(status).toBe("nonFinite");
    expect(x).toEqual(start());
  });

  test("NaN later on: never an endless loop, never a worse point", async () => {
    let calls = 0;
    const { status, value } = await solve((x) => {
      calls += 1;
      if (calls > 6) x.fill(NaN);
    });
    expect(["nonFinite", "stalled", "maxIterations", "notPositiveDefinite"]).toContain(status);
    expect(value).toBeLessThanOrEqual(atStart);
  });

  test("onIteration that throws, and an abort", async () => {
    const error = new Error("from onIteration");
    const thrown = await solve(nothing, {
      onIteration: () => {
        throw error;
      },
    });
    expect([thrown.status, thrown.error]).toEqual(["failed", error]);
    expect((await solve(nothing, { signal: AbortSignal.abort() })).status).toBe("aborted");
    const controller = new AbortController();
    let calls = 0;
    const { status, value } = await solve(
      () => {
        calls += 1;
        if (calls === 5) controller.abort();
      },
      { signal: controller.signal },
    );
    expect(status).toBe("aborted");
    expect(value).toBeLessThanOrEqual(atStart);
  });

  test.each([{ maxIterations: -1 }, { maxIterations: 1.5 }, { maxEvaluations: NaN }])(
    "refused: %j",
    async (options) => {
      await expect(solve(nothing, options)).rejects.toMatchObject({ code: "ARGUMENT" });
    },
  );
});
