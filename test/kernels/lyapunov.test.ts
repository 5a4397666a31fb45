import { setThreads } from "../../lib/binding/index.js";
import { solveLyapunov, solveLyapunovSync } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import {
  distance,
  eps,
  frobenius,
  largest,
  multiply,
  spectrum,
  tensorOf,
  transpose,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  readonly cases: readonly {
    readonly name: string;
    readonly sqrt: number[][];
    readonly grad_out: number[][];
    readonly grad_in_sqrt: number[][];
    readonly lyapunov_8_grad_sqrt_normaliser_sqrt_normA: number[][];
  }[];
}
const { cases } = readVectors<Vectors>("matsqrt.json");

/** |S X + X S - G| by plain products. */
function residualOf(s: Float64Array, x: Float64Array, g: Float64Array, n: number): number {
  const [left, right] = [multiply(s, x, n, n, n), multiply(x, s, n, n, n)];
  return frobenius(
    left.map((v, i) => v + right[i]!),
    g,
  );
}

eachDevice("lyapunov", (device) => {
  test.each(cases)("the vectors, $name", async (vector) => {
    using s = tensorOf(vector.sqrt.flat(), [6, 6], "float64", device);
    using g = tensorOf(vector.grad_out.flat(), [6, 6], "float64", device);
    const { solution } = await solveLyapunov(s, g);
    expect(distance(await valuesOf(solution), vector.grad_in_sqrt.flat())).toBeLessThan(1e-13);
    const eight = await solveLyapunov(s, g, { maxIterations: 8 });
    const reference = vector.lyapunov_8_grad_sqrt_normaliser_sqrt_normA.flat();
    expect(distance(await valuesOf(eight.solution), reference)).toBeLessThan(1e-13);
    expect(eight.iterations).toBeLessThanOrEqual(8);
  });

  test.each([1, 2, 33, 65, 130])(
    "the equation and the eigenbasis, n = %i, G symmetric or not",
    async (n) => {
      const condition = 100;
      const w = spectrum(n, condition);
      for (const dtype of ["float32", "float64"] as const) {
        using s = tensorOf(withSpectrum(w, n), [n, n], dtype, device);
        const S = await valuesOf(s);
        const any = Float64Array.from({ length: n * n }, normal(n));
        // A symmetric one in the eigenbasis of S: G = Q diag(v) Q^T has X = Q diag(v / (2 w)) Q^T.
        const v = Float64Array.from({ length: n }, normal(n + 1));
        const bound = 16 * (n + 8) * eps[dtype] * condition;
        for (const values of [any, withSpectrum(v, n)]) {
          using g = tensorOf(values, [n, n], dtype, device);
          const { solution, residual } = await solveLyapunov(s, g);
          const [X, G] = [await valuesOf(solution), await valuesOf(g)];
          const size = frobenius(G);
          const exact = residualOf(S, X, G, n) / size;
          expect(exact).toBeLessThanOrEqual(bound);
          expect(Math.abs(residual - exact)).toBeLessThanOrEqual(bound);
          if (values === any) continue;
          const reference = withSpectrum(
            v.map((x, i) => x / (2 * w[i]!)),
            n,
          );
          expect(distance(X, reference)).toBeLessThanOrEqual(bound * largest(reference));
          expect(distance(X, transpose(X, n, n))).toBe(0);
        }
      }
    },
  );

  test("zero, empty, batches, scale, threads", async () => {
    using two = tensorOf([2, 0, 0, 2], [2, 2], "float64", device);
    using zero = Tensor.zeros([2, 2], { dtype: "float64", device });
    const none = await solveLyapunov(two, zero);
    expect([...(await none.solution.data()), none.residual]).toEqual([0, 0, 0, 0, 0]);
    const empty = Tensor.empty([0, 2, 2], { device });
    expect(solveLyapunovSync(empty, empty).solution.size).toBe(0);
    const n = 40;
    const make = (factor: number) =>
      tensorOf(
        [1, 2, 3].flatMap((seed) =>
          Array.from(withSpectrum(spectrum(n, 20), seed), (x) => factor * x),
        ),
        [3, n, n],
        "float64",
        device,
      );
    using s = make(1);
    using g = tensorOf(Array.from({ length: 3 * n * n }, normal(3)), [3, n, n], "float64", device);
    const results = [];
    for (const threads of [1, 2]) {
      setThreads(threads);
      results.push(await solveLyapunovSync(s, g).solution.data());
    }
    expect(results[1]).toEqual(results[0]);
    using large = make(1e200);
    const scaled = await valuesOf(solveLyapunovSync(large, g).solution);
    expect(
      distance(
        scaled.map((x) => x * 1e200),
        results[0]!,
      ),
    ).toBeLessThan(1e-11);
  });

  test("what it refuses", async () => {
    const make = (values: number[], shape = [2, 2]) => tensorOf(values, shape, "float64", device);
    const unit = make([1, 0, 0, 1]);
    const refused = async (run: Promise<unknown>, expected: object) => {
      await expect(run).rejects.toMatchObject(expected);
    };
    await refused(solveLyapunov(make([1, 2, 2, 1]), unit), { code: "NOT_POSITIVE_DEFINITE" });
    await refused(solveLyapunov(make([1, 1, 0, 1]), unit), { code: "ARGUMENT" });
    await refused(solveLyapunov(unit, make([1, 0, NaN, 1])), {
      code: "NON_FINITE",
      details: { index: 2 },
    });
    await refused(solveLyapunov(make([1, 0, 0, 1e-6]), unit, { maxIterations: 3 }), {
      code: "NOT_CONVERGED",
      details: { iterations: 3 },
    });
    await refused(solveLyapunov(unit, make([1, 2], [1, 2])), { code: "SHAPE" });
    await refused(solveLyapunov(unit, Tensor.zeros([2, 2], { device }) as unknown as typeof unit), {
      code: "DTYPE",
    });
    await refused(solveLyapunov(unit, unit, { maxIterations: -1 }), { code: "ARGUMENT" });
    unit.dispose();
    await refused(solveLyapunov(unit, unit), { code: "DISPOSED" });
  });
});
