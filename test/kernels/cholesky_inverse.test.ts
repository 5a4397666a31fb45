import { cholesky, choleskyInverse, choleskyInverseSync } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import {
  distance,
  eps,
  frobenius,
  identity,
  multiply,
  spectrum,
  tensorOf,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";

eachDevice("cholesky_inverse", (device) => {
  test.each([1, 2, 31, 32, 33, 128, 129, 300])("A X = I, n = %i", async (n) => {
    for (const [dtype, condition] of [
      ["float32", 100],
      ["float64", 1e6],
    ] as const) {
      const w = spectrum(n, condition);
      using a = tensorOf(withSpectrum(w, n), [n, n], dtype, device);
      using l = await cholesky(a);
      const { inverse, residual } = await choleskyInverse(l);
      const X = await valuesOf(inverse);
      const reference = withSpectrum(
        w.map((x) => 1 / x),
        n,
      );
      expect(distance(X, reference)).toBeLessThanOrEqual((n + 8) * eps[dtype] * condition ** 2);
      for (let i = 0; i < n; ++i)
        for (let j = 0; j < i; ++j) expect(X[i * n + j]).toBe(X[j * n + i]);
      // The residual is that of the matrices: exact up to n = 32, within a few standard errors of 13 % beyond.
      const truth = frobenius(multiply(await valuesOf(a), X, n, n, n), identity(n));
      expect(residual).toBeLessThanOrEqual(truth * 1.6 + 4 * n * eps[dtype] * condition);
      expect(residual).toBeGreaterThanOrEqual(0);
      expect(truth).toBeLessThanOrEqual((n + 8) * eps[dtype] * condition);
      inverse.dispose();
    }
  });

  test("the residual sees a wrong factor, in any matrix of a batch", async () => {
    const n = 50;
    const values = [...identity(n), ...identity(n)];
    using l = tensorOf(values, [2, n, n], "float64", device);
    const good = choleskyInverseSync(l);
    expect(good.residual).toBe(0);
    expect([...(await valuesOf(good.inverse))]).toEqual(values);
    // A factor whose inverse overflows: 1e200 * 1e200.
    values[n * n] = 1e-200;
    using tiny = tensorOf(values, [2, n, n], "float64", device);
    expect((await choleskyInverse(tiny)).residual).not.toBeLessThan(1);
  });

  test("only the lower half is read; empty batches", async () => {
    using plain = tensorOf([2, 0, 1, 4], [2, 2], "float64", device);
    using dirty = tensorOf([2, NaN, 1, 4], [2, 2], "float64", device);
    const first = await choleskyInverse(plain);
    const second = await choleskyInverse(dirty);
    expect(await valuesOf(second.inverse)).toEqual(await valuesOf(first.inverse));
    expect(second.residual).toBe(first.residual);
    expect((await choleskyInverse(Tensor.empty([0, 2, 2], { device }))).inverse.size).toBe(0);
    expect((await choleskyInverse(Tensor.empty([0, 0], { device }))).residual).toBe(0);
  });

  test("what it refuses", async () => {
    using zero = tensorOf([1, 0, 0, 1, 1, 0, 3, 0], [2, 2, 2], "float32", device);
    await expect(choleskyInverse(zero)).rejects.toMatchObject({
      code: "SINGULAR",
      details: { index: 3 },
    });
    using nan = tensorOf([NaN, 0, 0, 1], [2, 2], "float32", device);
    await expect(choleskyInverse(nan)).rejects.toMatchObject({
      code: "SINGULAR",
      details: { index: 0 },
    });
    await expect(choleskyInverse(Tensor.zeros([2, 3], { device }))).rejects.toMatchObject({
      code: "SHAPE",
    });
  });
});
