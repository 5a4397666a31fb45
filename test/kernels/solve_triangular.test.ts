import { setThreads } from "../../lib/binding/index.js";
import {
  cholesky,
  choleskySolve,
  choleskySolveSync,
  solveTriangular,
  solveTriangularSync,
} from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import {
  distance,
  eps,
  largest,
  multiply,
  spectrum,
  tensorOf,
  transpose,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";

/** Well conditioned: unit-like diagonal, small entries beside it, NaN in the half that must not be read. */
function triangle(n: number, upper: boolean, seed: number): Float64Array {
  const draw = normal(seed);
  return Float64Array.from({ length: n * n }, (_, at) => {
    const i = Math.floor(at / n);
    const j = at % n;
    if (i === j) return 1 + 0.5 * Math.abs(draw());
    return i > j === upper ? NaN : draw() / (2 * n);
  });
}

eachDevice("solve_triangular", (device) => {
  const shapes = [
    [1, 1],
    [2, 3],
    [127, 1],
    [128, 32],
    [129, 33],
    [300, 5],
    [260, 300],
  ] as const;
  test.each(shapes)("op(T) X = B, n = %i, k = %i", async (n, k) => {
    const draw = normal(n + k);
    const b = Array.from({ length: n * k }, draw);
    for (const dtype of ["float32", "float64"] as const)
      for (const upper of [false, true])
        for (const transposed of [false, true]) {
          using t = tensorOf(triangle(n, upper, n), [n, n], dtype, device);
          using right = tensorOf(b, [n, k], dtype, device);
          using x = await solveTriangular(t, right, { upper, transposed });
          const T = (await valuesOf(t)).map((value) => (Number.isNaN(value) ? 0 : value));
          const op = transposed ? transpose(T, n, n) : T;
          const X = await valuesOf(x);
          const bound = (n + 4) * eps[dtype] * 4 * largest(X);
          expect(distance(multiply(op, X, n, n, k), await valuesOf(right))).toBeLessThanOrEqual(
            bound,
          );
        }
  });

  test("batches, views, no right-hand sides, NaN in one of them", async () => {
    const t = [2, 0, 1, 4, 5, 0, 3, 1];
    using batch = tensorOf(t, [2, 2, 2], "float64", device);
    using b = tensorOf([2, 4, 6, 5, 10, NaN, 3, 6], [2, 4], "float64", device);
    using view = b.reshape([2, 2, 2]);
    using x = await solveTriangular(batch, view);
    expect([...(await valuesOf(x))]).toEqual([1, 2, 1.25, 0.75, 2, NaN, -3, NaN]);
    using swapped = view.transpose();
    using y = solveTriangularSync(batch, swapped);
    expect([...(await valuesOf(y))].slice(0, 4)).toEqual([1, 3, 0.75, 0.5]);
    using none = await solveTriangular(
      batch,
      Tensor.empty([2, 2, 0], { dtype: "float64", device }),
    );
    expect(none.size).toBe(0);
  });

  test("choleskySolve: A X = B", async () => {
    const n = 140;
    const condition = 1e4;
    const w = spectrum(n, condition);
    using a = tensorOf(withSpectrum(w, 2), [n, n], "float64", device);
    using b = tensorOf(Array.from({ length: n * 3 }, normal(3)), [n, 3], "float64", device);
    using l = await cholesky(a);
    using x = await choleskySolve(l, b);
    using same = choleskySolveSync(l, b);
    const X = await valuesOf(x);
    expect(await valuesOf(same)).toEqual(X);
    const reference = multiply(
      withSpectrum(
        w.map((v) => 1 / v),
        2,
      ),
      await valuesOf(b),
      n,
      n,
      3,
    );
    expect(distance(X, reference)).toBeLessThanOrEqual(
      n * eps.float64 * condition * largest(reference),
    );
  });

  test("threads change no bit", async () => {
    const n = 200;
    using t = tensorOf(triangle(n, false, 1), [n, n], "float32", device);
    using b = tensorOf(Array.from({ length: n * 600 }, normal(4)), [n, 600], "float32", device);
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      using x = await solveTriangular(t, b);
      results.push(await x.data());
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test("what it refuses", async () => {
    using t = tensorOf([1, 0, 1, 0], [2, 2], "float32", device);
    using b = tensorOf([1, 1], [2, 1], "float32", device);
    const refused = async (run: Promise<unknown>, expected: object) => {
      await expect(run).rejects.toMatchObject(expected);
    };
    await refused(solveTriangular(t, b), { code: "SINGULAR", details: { index: 1 } });
    await refused(solveTriangular(t, Tensor.zeros([3, 1], { device })), { code: "SHAPE" });
    await refused(solveTriangular(t, Tensor.zeros([2], { device })), { code: "SHAPE" });
    await refused(solveTriangular(t, Tensor.zeros([1, 2, 1], { device })), { code: "SHAPE" });
    await refused(solveTriangular<"float32" | "float64">(t, b.toDType("float64")), {
      code: "DTYPE",
    });
    await refused(choleskySolve(Tensor.zeros([2, 3], { device }), b), { code: "SHAPE" });
  });
});
