import { setThreads } from "../../lib/binding/index.js";
import { orthonormalRows } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import {
  distance,
  eps,
  frobenius,
  identity,
  multiply,
  tensorOf,
  transpose,
  valuesOf,
} from "../helpers/spectral.js";

eachDevice("orthonormal_rows", (device) => {
  test.each([
    [1, 1],
    [1, 7],
    [5, 5],
    [33, 70],
    [130, 130],
  ])("[%i, %i]: orthonormal, and x = L y with L lower triangular", async (m, n) => {
    for (const dtype of ["float32", "float64"] as const) {
      using x = tensorOf(Array.from({ length: m * n }, normal(m + n)), [m, n], dtype, device);
      using y = orthonormalRows(x);
      const [X, Y] = [await valuesOf(x), await valuesOf(y)];
      const tolerance = 8 * n * eps[dtype];
      expect(distance(multiply(Y, transpose(Y, m, n), m, n, m), identity(m))).toBeLessThanOrEqual(
        tolerance,
      );
      const lower = multiply(X, transpose(Y, m, n), m, n, m).map((v, i) =>
        i % m <= Math.floor(i / m) ? v : 0,
      );
      expect(distance(multiply(lower, Y, m, m, n), X)).toBeLessThanOrEqual(
        tolerance * frobenius(X),
      );
    }
  });

  test("lower rank, zeros, batches, views, threads", async () => {
    using zero = Tensor.zeros([3, 4], { device });
    using any = orthonormalRows(zero);
    const rows = await valuesOf(any);
    expect(distance(multiply(rows, transpose(rows, 3, 4), 3, 4, 3), identity(3))).toBeLessThan(
      1e-6,
    );
    const values = Array.from({ length: 3 * 20 * 20 }, normal(4));
    using x = tensorOf(values, [3, 20, 20], "float64", device);
    const results = [];
    for (const threads of [1, 2]) {
      setThreads(threads);
      using y = orthonormalRows(x);
      results.push(await y.data());
    }
    expect(results[1]).toEqual(results[0]);
    using view = x.slice(0, 1, 2).transpose();
    using copy = view.contiguous();
    using fromView = orthonormalRows(view);
    using fromCopy = orthonormalRows(copy);
    expect(await fromView.data()).toEqual(await fromCopy.data());
    expect(orthonormalRows(Tensor.empty([0, 2, 3], { device })).size).toBe(0);
    expect(orthonormalRows(Tensor.empty([2, 0, 3], { device })).size).toBe(0);
  });

  test("what it refuses", async () => {
    using nan = tensorOf([1, 2, NaN, 4], [2, 2], "float32", device);
    using y = orthonormalRows(nan);
    await expect(y.data()).rejects.toMatchObject({ code: "NON_FINITE" });
    const refuses = (x: Tensor, code: string) => {
      expect(() => orthonormalRows(x)).toThrow(expect.objectContaining({ code }) as Error);
    };
    refuses(Tensor.zeros([3, 2], { device }), "SHAPE");
    refuses(Tensor.zeros([3], { device }), "SHAPE");
    refuses(Tensor.zeros([2, 2], { device, dtype: "int32" }), "DTYPE");
    nan.dispose();
    refuses(nan, "DISPOSED");
  });
});
