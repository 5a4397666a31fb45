import { setThreads } from "../../lib/binding/index.js";
import { eigh, eighSync, matrixInverseRoot } from "../../lib/linalg/index.js";
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
  transpose,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";

eachDevice("eigh", (device) => {
  test.each([1, 2, 3, 25, 26, 32, 33, 64, 65, 127, 128, 129, 260])("n = %i", async (n) => {
    for (const dtype of ["float32", "float64"] as const) {
      const w = spectrum(n, 1e3).map((x, i) => (i % 3 === 1 ? -x : x)); // indefinite
      const A = withSpectrum(w, n);
      using a = tensorOf(A, [n, n], dtype, device);
      const { values, vectors, residual } = await eigh(a);
      const [lambda, V] = [await valuesOf(values), await valuesOf(vectors)];
      const bound = (n + 8) * eps[dtype];
      expect(
        distance(
          lambda,
          [...w].sort((x, y) => x - y),
        ),
      ).toBeLessThanOrEqual(bound);
      expect([...lambda]).toEqual([...lambda].sort((x, y) => x - y));
      expect(distance(multiply(transpose(V, n, n), V, n, n, n), identity(n))).toBeLessThanOrEqual(
        bound,
      );
      const scaled = V.map((x, at) => x * lambda[at % n]!);
      expect(distance(multiply(A, V, n, n, n), scaled)).toBeLessThanOrEqual(2 * bound);
      const truth = frobenius(multiply(A, V, n, n, n), scaled) / frobenius(A);
      expect(residual).toBeLessThanOrEqual(1.6 * truth + bound);
      values.dispose();
      vectors.dispose();
    }
  });

  test("known eigenvectors; equal eigenvalues; zero", async () => {
    using a = tensorOf([2, 1, 1, 2], [2, 2], "float64", device);
    const { values, vectors } = eighSync(a);
    expect(distance(await valuesOf(values), [1, 3])).toBeLessThanOrEqual(4 * eps.float64);
    const V = await valuesOf(vectors);
    expect(Math.abs(V[0]! + V[2]!)).toBeLessThanOrEqual(4 * eps.float64); // (1, -1) / sqrt 2
    expect(Math.abs(V[1]! - V[3]!)).toBeLessThanOrEqual(4 * eps.float64); // (1, 1) / sqrt 2
    using eye = tensorOf(
      [...identity(40), ...new Float64Array(1600)],
      [2, 40, 40],
      "float32",
      device,
    );
    const both = await eigh(eye);
    expect([...(await valuesOf(both.values))]).toEqual(
      Array.from({ length: 80 }, (_, i) => Number(i < 40)),
    );
    expect(both.residual).toBe(0);
  });

  test("a batch gives what its matrices give, with any number of threads", async () => {
    const n = 70;
    const matrices = [1, 2, 3].map((seed) => withSpectrum(spectrum(n, 100), seed));
    using batch = tensorOf(
      matrices.flatMap((m) => [...m]),
      [3, n, n],
      "float32",
      device,
    );
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      const { values, vectors } = await eigh(batch);
      results.push([await values.data(), await vectors.data()]);
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    const alone = await eigh(batch.slice(0, 1, 2).reshape([n, n]));
    expect(await alone.vectors.data()).toEqual(results[0]![1]!.slice(n * n, 2 * n * n));
    expect((await eigh(Tensor.empty([0, 4, 4], { device }))).values.shape).toEqual([0, 4]);
    expect((await eigh(Tensor.empty([2, 0, 0], { device }))).vectors.size).toBe(0);
  });

  test("an abort rejects at once and leaves the queue usable", async () => {
    const n = 600;
    using a = tensorOf(withSpectrum(spectrum(n, 10), 1), [n, n], "float64", device);
    const controller = new AbortController();
    const running = eigh(a, { signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const start = performance.now();
    controller.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    expect(performance.now() - start).toBeLessThan(100);
    using small = tensorOf([5], [1, 1], "float64", device);
    expect((await (await eigh(small)).values.data())[0]).toBe(5);
  });

  test("what it refuses", async () => {
    using nan = tensorOf([1, 0, 0, 1, 1, NaN, NaN, 1], [2, 2, 2], "float32", device);
    await expect(eigh(nan)).rejects.toMatchObject({ code: "NON_FINITE", details: { index: 5 } });
    using skew = tensorOf([1, 2, -2, 1], [2, 2], "float32", device);
    await expect(eigh(skew)).rejects.toMatchObject({ code: "ARGUMENT" });
    await expect(eigh(Tensor.zeros([2, 3], { device }))).rejects.toMatchObject({ code: "SHAPE" });
    await expect(eigh(Tensor.zeros([2, 2], { dtype: "int32", device }))).rejects.toMatchObject({
      code: "DTYPE",
    });
    // A view of one element: nothing of this size is in memory.
    const large = Tensor.zeros([1, 1], { device }).expand([46339, 46339]);
    await expect(eigh(large)).rejects.toMatchObject({ code: "SHAPE" });
    await expect(matrixInverseRoot(large, 2, { method: "eigh" })).rejects.toMatchObject({
      code: "SHAPE",
    });
    nan.dispose();
    expect(() => eighSync(nan)).toThrow(/eighSync/);
  });
});
