import { setThreads } from "../../lib/binding/index.js";
import { orthogonalize, orthogonalizeSync } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import {
  distance,
  eps,
  frobenius,
  identity,
  multiply,
  spectrum,
  tensorOf,
  transpose,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";

/** The scalar map of five quintic steps, from which NS(U S V^T) = U map(S / |S|) V^T. */
function quintic(
  s: number,
  [a, b, c]: readonly number[] = [3.4445, -4.775, 2.0315],
  steps = 5,
): number {
  let x = s;
  for (let i = 0; i < steps; ++i) x = a! * x + b! * x ** 3 + c! * x ** 5;
  return x;
}

eachDevice("orthogonalize", (device) => {
  test.each([
    [
      [1, 2, 3, 4],
      [2, 2],
      [-0.68066099, 0.82553961, 0.74129542, 0.25944003],
    ],
    [
      [3, 4, 6, 8],
      [2, 2],
      [0.1868735, 0.24916467, 0.373747, 0.49832934],
    ],
    [
      [1, 0, 2, 0, 3, -1],
      [2, 3],
      [0.32959872, 0.00388166, 0.65790356, 0.00129389, 0.97909203, -0.32377624],
    ],
  ])("the published values: %j", async (values, shape, reference) => {
    using x = tensorOf(values, shape, "float64", device);
    const { factor, iterations } = await orthogonalize(x);
    expect(distance(await valuesOf(factor), reference)).toBeLessThan(1e-7);
    expect(iterations).toBe(5);
    using flipped = x.transpose();
    const other = await orthogonalize(flipped);
    const back = transpose(await valuesOf(other.factor), shape[1]!, shape[0]!);
    expect(distance(back, reference)).toBeLessThan(1e-7);
  });

  test("the scalar map, five steps", async () => {
    // A diagonal of s and a rest that makes the norm 1.
    for (const s of [0.001, 0.01, 0.05, 0.1, 0.3, 0.5, Math.SQRT1_2]) {
      using x = tensorOf([s, 0, 0, Math.sqrt(1 - s * s)], [2, 2], "float64", device);
      const { factor } = await orthogonalize(x, { eps: 0 });
      expect(Math.abs((await valuesOf(factor))[0]! - quintic(s))).toBeLessThan(1e-12);
    }
    expect(quintic(0.3)).toBeCloseTo(1.07959229, 8);
    using one = tensorOf([-7], [1, 1], "float64", device);
    const { factor } = await orthogonalize(one, { eps: 0 });
    expect((await valuesOf(factor))[0]).toBeCloseTo(-0.69643641, 8);
  });

  test.each([1, 5, 32, 33, 65, 130])(
    "symmetric matrices of a known spectrum, n = %i",
    async (n) => {
      const w = spectrum(n, 50);
      const norm = frobenius(w);
      for (const dtype of ["float32", "float64"] as const) {
        using x = tensorOf(withSpectrum(w, n), [n, n], dtype, device);
        const { factor } = await orthogonalize(x, { eps: 0 });
        const reference = withSpectrum(
          w.map((s) => quintic(s / norm)),
          n,
        );
        expect(distance(await valuesOf(factor), reference)).toBeLessThanOrEqual(
          500 * (n + 8) * eps[dtype],
        );
        // The polar factor of a positive definite matrix is I.
        const polar = await orthogonalize(x, { method: "polar" });
        expect(distance(await valuesOf(polar.factor), identity(n))).toBeLessThanOrEqual(
          50 * (n + 8) * eps[dtype],
        );
        expect(polar.residual).toBeLessThanOrEqual((n + 8) * eps[dtype]);
        expect(polar.iterations).toBeLessThanOrEqual(8);
      }
    },
  );

  test("polar: U^T U = I and U^T x is symmetric and positive, for wide and tall", async () => {
    for (const [m, n] of [
      [20, 70],
      [70, 20],
      [130, 131],
    ] as const) {
      using x = tensorOf(Array.from({ length: m * n }, normal(m)), [m, n], "float64", device);
      const { factor, residual } = await orthogonalize(x, { method: "polar" });
      const [U, X] = [await valuesOf(factor), await valuesOf(x)];
      const small =
        m <= n
          ? multiply(U, transpose(U, m, n), m, n, m)
          : multiply(transpose(U, m, n), U, n, m, n);
      const d = Math.min(m, n);
      expect(distance(small, identity(d))).toBeLessThanOrEqual(1e-13);
      expect(Math.abs(residual - frobenius(small, identity(d)) / Math.sqrt(d))).toBeLessThan(1e-14);
      const h =
        m <= n
          ? multiply(U, transpose(X, m, n), m, n, m)
          : multiply(transpose(U, m, n), X, n, m, n);
      expect(distance(h, transpose(h, d, d))).toBeLessThanOrEqual(1e-11);
    }
    const G = [1, 2, 3, 4];
    using g = tensorOf(G, [2, 2], "float64", device);
    const exact = await orthogonalize(g, { method: "polar" });
    const polar = [-0.51449576, 0.85749293, 0.85749293, 0.51449576];
    expect(distance(await valuesOf(exact.factor), polar)).toBeLessThan(1e-8);
    const slow = await orthogonalize(g, { coefficients: [2, -1.5, 0.5], steps: 10 });
    expect(distance(await valuesOf(slow.factor), await valuesOf(exact.factor))).toBeLessThan(1e-6); // eps is 1e-7
  });

  test("scale, zero, batches, threads", async () => {
    const n = 90;
    const values = Array.from({ length: 2 * n * n }, normal(2));
    using x = tensorOf(values, [2, n, n], "float64", device);
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      results.push(await valuesOf(orthogonalizeSync(x).factor));
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    using scaled = tensorOf(
      values.map((v) => v * 1e3),
      [2, n, n],
      "float64",
      device,
    );
    expect(
      distance(await valuesOf((await orthogonalize(scaled)).factor), results[0]!),
    ).toBeLessThan(1e-6);
    using huge = tensorOf(
      values.map((v) => v * 1e300),
      [2, n, n],
      "float64",
      device,
    );
    expect(distance(await valuesOf((await orthogonalize(huge)).factor), results[0]!)).toBeLessThan(
      1e-6,
    );
    using zero = Tensor.zeros([3, 4], { device });
    expect((await (await orthogonalize(zero)).factor.data()).every((v) => v === 0)).toBe(true);
    expect((await orthogonalize(Tensor.empty([0, 3, 3], { device }))).factor.size).toBe(0);
    expect((await orthogonalize(Tensor.empty([2, 0, 3], { device }))).factor.size).toBe(0);
  });

  test("no factor, and what it refuses", async () => {
    const refused = async (run: Promise<unknown>, expected: object) => {
      await expect(run).rejects.toMatchObject(expected);
    };
    using flat = tensorOf([1, 0, 0, 0], [2, 2], "float64", device);
    await refused(orthogonalize(flat, { method: "polar" }), {
      code: "NOT_CONVERGED",
      details: { iterations: 40 },
    });
    using nan = tensorOf([1, 2, 3, NaN], [1, 2, 2], "float32", device);
    await refused(orthogonalize(nan), { code: "NON_FINITE", details: { index: 3 } });
    await refused(orthogonalize(Tensor.zeros([4], { device })), { code: "SHAPE" });
    await refused(orthogonalize(flat, { method: "svd" as "polar" }), { code: "ARGUMENT" });
    await refused(orthogonalize(flat, { steps: -1 }), { code: "ARGUMENT" });
    await refused(orthogonalize(flat, { coefficients: [1, NaN, 1] }), { code: "ARGUMENT" });
    flat.dispose();
    await refused(orthogonalize(flat), { code: "DISPOSED" });
  });
});
