import { setThreads } from "../../lib/binding/index.js";
import { cholesky, choleskySync } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import {
  distance,
  eps,
  multiply,
  spectrum,
  tensorOf,
  transpose,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";

eachDevice("cholesky", (device) => {
  test("an exact example of integers", async () => {
    // L = [[2, 0, 0], [1, 3, 0], [-1, 2, 1]]
    using a = tensorOf([4, 2, -2, 2, 10, 5, -2, 5, 6], [3, 3], "float32", device);
    using l = await cholesky(a);
    expect([...(await l.data())]).toEqual([2, 0, 0, 1, 3, 0, -1, 2, 1]);
    using same = choleskySync(a);
    expect(await same.data()).toEqual(await l.data());
  });

  test.each([1, 2, 63, 64, 65, 127, 128, 129, 260])("L L^T = A, n = %i", async (n) => {
    for (const dtype of ["float32", "float64"] as const) {
      const values = withSpectrum(spectrum(n, 1e3), n);
      using a = tensorOf(values, [n, n], dtype, device);
      using l = await cholesky(a, { shift: 0.25 });
      const L = await valuesOf(l);
      const product = multiply(L, transpose(L, n, n), n, n, n);
      for (let i = 0; i < n; ++i) values[i * n + i]! += 0.25;
      expect(distance(product, values)).toBeLessThanOrEqual((n + 4) * eps[dtype] * 1.25);
      for (let i = 0; i < n; ++i) {
        expect(L[i * n + i]).toBeGreaterThan(0);
        expect(L.subarray(i * n + i + 1, i * n + n).every((x) => x === 0)).toBe(true);
      }
    }
  });

  test("no matrix, no rows, a batch, a strided view", async () => {
    expect((await cholesky(Tensor.empty([0, 3, 3], { device }))).shape).toEqual([0, 3, 3]);
    expect((await cholesky(Tensor.empty([2, 0, 0], { device }))).size).toBe(0);
    const n = 9;
    const matrices = [1, 2, 3, 4, 5].map((seed) => withSpectrum(spectrum(n, 50), seed));
    using batch = tensorOf(
      matrices.flatMap((m) => [...m]),
      [5, n, n],
      "float64",
      device,
    );
    using together = await cholesky(batch);
    using wide = tensorOf(
      Array.from({ length: n * (n + 2) }, (_, at) =>
        at % (n + 2) < n ? matrices[3]![Math.floor(at / (n + 2)) * n + (at % (n + 2))]! : NaN,
      ),
      [n, n + 2],
      "float64",
      device,
    );
    using alone = await cholesky(wide.slice(1, 0, n));
    expect((await valuesOf(together)).slice(3 * n * n, 4 * n * n)).toEqual(await valuesOf(alone));
  });

  test("threads change no bit", async () => {
    using a = tensorOf(withSpectrum(spectrum(300, 1e4), 5), [300, 300], "float32", device);
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      using l = await cholesky(a);
      results.push(await l.data());
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test("a matrix that is not positive definite: the failing minor, in its matrix", async () => {
    const good = [2, 1, 1, 2];
    const bad = [2, 3, 3, 2]; // det = -5
    using batch = tensorOf([...good, ...bad, ...good], [3, 2, 2], "float64", device);
    await expect(cholesky(batch)).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
      details: { index: 1 * 2 + 1 },
    });
    using rescued = await cholesky(batch, { shift: 1.001 });
    expect(rescued.shape).toEqual([3, 2, 2]);
    const n = 200;
    const w = spectrum(n, 10);
    const values = withSpectrum(w, 1);
    // Minus twice the unit matrix from row 150 on: the leading 150 rows stay positive definite.
    for (let i = 150; i < n; ++i) values[i * n + i]! -= 2;
    using late = tensorOf(values, [n, n], "float32", device);
    await expect(cholesky(late)).rejects.toMatchObject({ details: { index: 150 } });
    expect(() => choleskySync(late)).toThrow(/^choleskySync: .* leading minor of order 151 /);
    using zero = Tensor.zeros([3, 3], { device });
    await expect(cholesky(zero)).rejects.toMatchObject({ details: { index: 0 } });
  });

  test("NaN, Inf, and what is not symmetric", async () => {
    const values = [4, 1, 0, 1, 4, 1, 0, 1, 4];
    for (const poison of [NaN, Infinity]) {
      const x = [...values, ...values];
      x[9 + 5] = poison;
      using a = tensorOf(x, [2, 3, 3], "float32", device);
      await expect(cholesky(a)).rejects.toMatchObject({
        code: "NON_FINITE",
        details: { index: 14 },
      });
    }
    const apart = (by: number) => values.map((x, i) => (i === 1 ? x + by : x));
    using close = tensorOf(apart(4 * 250 * eps.float64), [3, 3], "float64", device);
    (await cholesky(close)).dispose();
    using far = tensorOf(apart(4 * 300 * eps.float64), [3, 3], "float64", device);
    await expect(cholesky(far)).rejects.toMatchObject({ code: "ARGUMENT", details: { index: 1 } });
  });

  test("what it refuses", async () => {
    const square = Tensor.zeros([2, 2], { device });
    const refused = async (run: Promise<unknown>, code: string) => {
      await expect(run).rejects.toMatchObject({ code });
    };
    await refused(cholesky(Tensor.zeros([2, 3], { device })), "SHAPE");
    await refused(cholesky(Tensor.zeros([4], { device })), "SHAPE");
    await refused(cholesky(square.toDType("int32")), "DTYPE");
    await refused(cholesky(square, { shift: NaN }), "ARGUMENT");
    const stopped = cholesky(square, { signal: AbortSignal.abort(new Error("enough")) });
    await expect(stopped).rejects.toThrow("enough");
    square.dispose();
    await refused(cholesky(square), "DISPOSED");
  });
});
