import { setThreads } from "../../lib/binding/index.js";
import {
  eigh,
  matrixInverseRoot,
  matrixInverseRootSync,
  type InverseRootMethod,
} from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import {
  distance,
  eps,
  frobenius,
  identity,
  largest,
  multiply,
  spectrum,
  tensorOf,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  readonly matrices: readonly {
    readonly name: string;
    readonly A: number[][];
    readonly cond: number;
    readonly inverse_roots: Readonly<Record<string, number[][]>>;
  }[];
}
const vectors = readVectors<Vectors>("roots.json");
const methods: readonly InverseRootMethod[] = ["tridiagonal", "eigh", "newton", "polynomial"];

/** |X^p A - I|_F / sqrt(n) by plain products. */
function residualOf(x: ArrayLike<number>, p: number, a: ArrayLike<number>, n: number): number {
  let product: ArrayLike<number> = a;
  for (let i = 0; i < p; ++i) product = multiply(x, product, n, n, n);
  return frobenius(product, identity(n)) / Math.sqrt(n);
}

/** A symmetric matrix whose entries are about `size` of those of a matrix with norm 1, so that |change| = size. */
function change(n: number, size: number, seed: number): Float64Array {
  const w = Float64Array.from({ length: n }, normal(seed + 100));
  const top = largest(w);
  return withSpectrum(
    w.map((x) => (size * x) / top),
    seed,
  );
}

eachDevice("matrix_inverse_root", (device) => {
  describe.each(methods)("method %s", (method) => {
    test.each(vectors.matrices)("the vectors, $name", async ({ A, cond, inverse_roots }) => {
      using a = tensorOf(A.flat(), [8, 8], "float64", device);
      for (const [p, reference] of Object.entries(inverse_roots)) {
        const { root, residual, converged } = await matrixInverseRoot(a, Number(p), { method });
        const X = await valuesOf(root);
        const error = distance(X, reference.flat()) / largest(reference.flat());
        expect(error).toBeLessThanOrEqual(cond < 100 ? 1e-12 : 1e-9);
        expect(converged).toBe(true);
        expect(residual).toBeCloseTo(residualOf(X, Number(p), A.flat(), 8), 8);
        root.dispose();
      }
    });

    test.each([1, 2, 3, 17, 32, 33, 64, 65, 129])("a known spectrum, n = %i", async (n) => {
      for (const [dtype, condition] of [
        ["float32", 1e3],
        ["float64", 1e5],
      ] as const) {
        const w = spectrum(n, condition);
        const A = withSpectrum(w, n);
        using a = tensorOf(A, [n, n], dtype, device);
        for (const p of n > 100 ? [3] : [1, 2, 4, 7]) {
          const { root, residual } = await matrixInverseRoot(a, p, { method });
          const X = await valuesOf(root);
          const reference = withSpectrum(
            w.map((x) => x ** (-1 / p)),
            n,
          );
          expect(distance(X, reference)).toBeLessThanOrEqual(
            8 * (n + 8) * eps[dtype] * condition * condition ** (1 / p),
          );
          for (let i = 0; i < n; ++i)
            for (let j = 0; j < i; ++j) expect(X[i * n + j]).toBe(X[j * n + i]);
          const truth = residualOf(X, p, await valuesOf(a), n);
          expect(residual).toBeLessThanOrEqual(1.6 * truth + 4 * n * eps[dtype] * condition);
          expect(residual).toBeGreaterThanOrEqual(truth / 1.6 - 4 * n * eps[dtype] * condition);
          root.dispose();
        }
      }
    });

    test("a ridge counts from the largest eigenvalue, for 1 x 1 too", async () => {
      using one = tensorOf([16, 81], [2, 1, 1], "float64", device);
      const { root, reports } = await matrixInverseRoot(one, 4, { method, ridge: 0.25 });
      expect(distance(await valuesOf(root), [20 ** -0.25, 101.25 ** -0.25])).toBeLessThanOrEqual(
        1e-15,
      );
      expect(reports.map((report) => report.largestEigenvalue)).toEqual([16, 81]);
      const n = 40;
      const w = spectrum(n, 1e4).map((x) => x - 1e-4); // the smallest is 0
      using a = tensorOf(withSpectrum(w, 3), [n, n], "float64", device);
      const damped = await matrixInverseRoot(a, 2, { method, ridge: 1e-3 });
      const top = 1 - 1e-4;
      const reference = withSpectrum(
        w.map((x) => (x + 1e-3 * top) ** -0.5),
        3,
      );
      // The iterations estimate the largest eigenvalue: within 2 % here, so the ridge is.
      const exact = method === "tridiagonal" || method === "eigh";
      expect(
        distance(await valuesOf(damped.root), reference) / largest(reference),
      ).toBeLessThanOrEqual(exact ? 1e-12 : 0.01);
      expect(Math.abs((damped.reports[0]?.largestEigenvalue ?? NaN) - top)).toBeLessThanOrEqual(
        exact ? 1e-13 : 0.02,
      );
    });

    test("a matrix that is not positive definite, one with NaN, one that is not symmetric", async () => {
      const good = [4, 1, 1, 4];
      const batch = [...good, 1, 2, 2, 1, 1, NaN, NaN, 1, 1, 0.5, 0, 1, ...good];
      using a = tensorOf(batch, [5, 2, 2], "float64", device);
      const { root, reports, converged } = await matrixInverseRoot(a, 2, {
        method,
        onFailure: "report",
      });
      const failures = reports.map((report) => report.failure);
      // An iteration cannot tell an indefinite matrix from one that takes too long.
      expect(failures[1]).toMatch(/NOT_POSITIVE_DEFINITE|NOT_CONVERGED/);
      failures[1] = undefined;
      expect(failures).toEqual([undefined, undefined, "NON_FINITE", "NOT_SYMMETRIC", undefined]);
      expect(converged).toBe(false);
      const X = await valuesOf(root);
      expect(X.slice(8, 16).every(Number.isNaN)).toBe(true);
      using alone = tensorOf(good, [2, 2], "float64", device);
      const reference = await valuesOf((await matrixInverseRoot(alone, 2, { method })).root);
      expect([X.slice(0, 4), X.slice(16)]).toEqual([reference, reference]);
      await expect(matrixInverseRoot(a, 2, { method })).rejects.toMatchObject({
        details: { matrix: 1 },
      });
      await expect(matrixInverseRoot(a.slice(0, 2, 3), 2, { method })).rejects.toMatchObject({
        code: "NON_FINITE",
      });
      await expect(matrixInverseRoot(a.slice(0, 3, 5), 2, { method })).rejects.toMatchObject({
        code: "ARGUMENT",
        details: { matrix: 0 },
      });
      using zero = Tensor.zeros([3, 3], { device });
      await expect(matrixInverseRoot(zero, 2, { method })).rejects.toMatchObject({
        code: "NOT_POSITIVE_DEFINITE",
      });
    });

    test("threads change no bit, nor does a batch", async () => {
      const n = 150;
      using a = tensorOf(withSpectrum(spectrum(n, 1e3), 4), [n, n], "float32", device);
      const results = [];
      for (const threads of [1, 2, 3]) {
        setThreads(threads);
        const { root } = matrixInverseRootSync(a, 4, { method });
        results.push(await root.data());
      }
      setThreads(2);
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      const twice = tensorOf(
        [...(await a.data()), ...(await a.data())],
        [2, n, n],
        "float32",
        device,
      );
      const { root } = await matrixInverseRoot(twice, 4, { method });
      expect((await root.data()).slice(n * n)).toEqual(results[0]);
    });
  });

  test("a Shampoo step: both roots of one gradient give its polar factor", async () => {
    const G = [1, 2, 3, 4];
    using left = tensorOf([5, 11, 11, 25], [2, 2], "float64", device); // G G^T
    using right = tensorOf([10, 14, 14, 20], [2, 2], "float64", device); // G^T G
    const L = await valuesOf((await matrixInverseRoot(left, 4)).root);
    const R = await valuesOf((await matrixInverseRoot(right, 4)).root);
    expect(distance(L, [1.45249488, -0.45330954, -0.45330954, 0.62829572])).toBeLessThan(1e-8);
    expect(distance(R, [1.24644509, -0.57693941, -0.57693941, 0.83434551])).toBeLessThan(1e-8);
    const step = multiply(multiply(L, G, 2, 2, 2), R, 2, 2, 2);
    expect(distance(step, [-0.51449576, 0.85749293, 0.85749293, 0.51449576])).toBeLessThan(1e-8);
  });

  test.each([
    [16, 0.5, 6],
    [1e-4, 10, 13],
    [1e-8, 100, 24],
  ])("coupled Newton, p = 4: diag(1, %d) in the published iterations", async (x, y, most) => {
    using a = tensorOf([1, 0, 0, x], [2, 2], "float64", device);
    const { root, iterations } = await matrixInverseRoot(a, 4, { method: "newton" });
    expect(distance(await valuesOf(root), [1, 0, 0, y])).toBeLessThanOrEqual(1e-6 * y);
    expect(iterations).toBeLessThanOrEqual(most + 2); // published for 1e-6; two more squarings to the end of float64
  });

  test.each(["newton", "polynomial"] as const)(
    "%s in float64 goes on to rounding, not to its square root",
    async (method) => {
      for (const n of [8, 33, 65, 100])
        for (const condition of [2, 50, 1000])
          for (const p of [1, 2, 4]) {
            using a = tensorOf(withSpectrum(spectrum(n, condition), n), [n, n], "float64", device);
            const { root, residual } = await matrixInverseRoot(a, p, { method });
            root.dispose();
            expect(residual).toBeLessThanOrEqual(64 * (n + 8) * eps.float64 * condition);
          }
    },
  );

  test("the polynomial takes half the iterations of Newton, whatever it was told of the spectrum", async () => {
    const n = 96;
    const w = spectrum(n, 1e4);
    w[n - 1] = 1e-6; // one eigenvalue far below the others
    using a = tensorOf(withSpectrum(w, 8), [n, n], "float64", device);
    const polynomial = await matrixInverseRoot(a, 4, { method: "polynomial" });
    const newton = await matrixInverseRoot(a, 4, { method: "newton" });
    expect(polynomial.iterations).toBeLessThanOrEqual(newton.iterations / 2);
    const reference = withSpectrum(
      w.map((x) => x ** -0.25),
      8,
    );
    for (const { root } of [polynomial, newton])
      expect(distance(await valuesOf(root), reference) / largest(reference)).toBeLessThanOrEqual(
        1e-8,
      );
  });

  describe("warm start", () => {
    const n = 60;
    const condition = 100;
    const p = 4;
    const A = withSpectrum(spectrum(n, condition), 1);
    // A change of 0.1 %, positive semidefinite as an average of new outer products is.
    const E = change(n, 1e-3, 2).map((x) => x / 2);
    const next = A.map((x, at) => x * (1 - 1e-3) + (at % (n + 1) === 0 ? 5e-4 : 0) + E[at]!);

    test("from eigenvectors: the root to second order in the change, its true residual", async () => {
      for (const dtype of ["float32", "float64"] as const) {
        using a = tensorOf(A, [n, n], dtype, device);
        using b = tensorOf(next, [n, n], dtype, device);
        const cold = await matrixInverseRoot(a, p, { method: "eigh" });
        const warm = await matrixInverseRoot(b, p, { warmStart: cold.eigenvectors! });
        const X = await valuesOf(warm.root);
        // The relative change of the smallest eigenvalue is up to 0.1; its square times p (p + 1) / 2 / p^2.
        expect(warm.residual).toBeLessThanOrEqual(0.01);
        expect(
          Math.abs(warm.residual - residualOf(X, p, await valuesOf(b), n)),
        ).toBeLessThanOrEqual(0.6 * warm.residual);
        const full = await matrixInverseRoot(b, p, { method: "eigh" });
        const error = frobenius(X, await valuesOf(full.root)) / frobenius(X);
        expect(error).toBeLessThanOrEqual(2e-3);
        // Doing nothing is far worse: the change matters.
        expect(residualOf(await valuesOf(cold.root), p, next, n)).toBeGreaterThan(
          5 * warm.residual,
        );
        // No change, no error.
        const same = await matrixInverseRoot(a, p, { warmStart: cold.eigenvectors! });
        expect(frobenius(await valuesOf(same.root), await valuesOf(cold.root))).toBeLessThanOrEqual(
          n * eps[dtype] * condition * 4,
        );
      }
    });

    test("an iteration continued from the previous root says converged when it is not", async () => {
      using a = tensorOf(A, [n, n], "float64", device);
      let X: Float64Array = await valuesOf((await matrixInverseRoot(a, p)).root);
      let M: Float64Array = next;
      for (let i = 0; i < p; ++i) M = multiply(X, M, n, n, n);
      for (let iteration = 0; iteration < 30; ++iteration) {
        const T = M.map((x, at) => (Number(at % (n + 1) === 0) * (p + 1) - x) / p);
        X = multiply(X, T, n, n, n);
        for (let i = 0; i < p; ++i) M = multiply(T, M, n, n, n);
      }
      expect(frobenius(M, identity(n))).toBeLessThan(1e-10); // "converged"
      expect(residualOf(X, p, next, n)).toBeGreaterThan(1e-3); // X^p A is not I
      using b = tensorOf(next, [n, n], "float64", device);
      const right = await matrixInverseRoot(b, p);
      expect(residualOf(await valuesOf(right.root), p, next, n)).toBeLessThan(1e-10);
    });

    test("eigenvectors of another matrix: not converged, with the residual", async () => {
      using a = tensorOf(withSpectrum(spectrum(n, condition), 77), [n, n], "float64", device);
      const { vectors: wrong } = await eigh(a);
      using b = tensorOf(A, [n, n], "float64", device);
      await expect(matrixInverseRoot(b, p, { warmStart: wrong })).rejects.toMatchObject({
        code: "NOT_CONVERGED",
        details: { iterations: 0, matrix: 0 },
      });
    });
  });

  describe("badly conditioned", () => {
    const n = 512;

    test.each(methods)(
      "float32 at condition 1e8, %s: damped is fine, undamped is in its bound or an error",
      async (method) => {
        using a = tensorOf(withSpectrum(spectrum(n, 1e8), 5), [n, n], "float32", device);
        const damped = await matrixInverseRoot(a, 4, { method, ridge: 1e-6, tolerance: 0.5 });
        const X = await valuesOf(damped.root);
        expect(X.every(Number.isFinite)).toBe(true);
        expect(damped.residual).toBeLessThanOrEqual(0.5);
        const w = spectrum(n, 1e8);
        const reference = withSpectrum(
          w.map((x) => (x + 1e-6) ** -0.25),
          5,
        );
        expect(frobenius(X, reference) / frobenius(reference)).toBeLessThanOrEqual(0.05);
        const outcome = await matrixInverseRoot(a, 4, { method }).catch((error: unknown) => error);
        if (outcome instanceof Error) {
          expect(outcome).toMatchObject({
            code: expect.stringMatching(/NOT_CONVERGED|NOT_POSITIVE_DEFINITE/) as string,
          });
        } else {
          expect(
            (outcome as Awaited<ReturnType<typeof matrixInverseRoot>>).residual,
          ).toBeLessThanOrEqual(0.1);
        }
      },
    );

    test("a float64 retry, of the matrices that need it", async () => {
      const bad = withSpectrum(spectrum(64, 1e8), 5);
      const good = withSpectrum(spectrum(64, 10), 6);
      using a = tensorOf([...good, ...bad], [2, 64, 64], "float32", device);
      const { reports, root } = await matrixInverseRoot(a, 4, {
        ridge: 1e-8,
        retry: "float64",
        tolerance: 0.05,
      });
      expect(reports.map((report) => report.precision)).toEqual(["float32", "float64"]);
      expect(root.dtype).toBe("float32");
      expect(reports[1]?.residual).toBeLessThanOrEqual(0.05);
      const wide = await matrixInverseRoot(a, 4, { ridge: 1e-8, precision: "float64" });
      expect(wide.reports.map((report) => report.precision)).toEqual(["float64", "float64"]);
      expect((await wide.root.data()).slice(64 * 64)).toEqual((await root.data()).slice(64 * 64));
    });

    test("float64 at condition 1e12", async () => {
      const w = spectrum(100, 1e12);
      using a = tensorOf(withSpectrum(w, 9), [100, 100], "float64", device);
      const { root, residual } = await matrixInverseRoot(a, 2);
      const reference = withSpectrum(
        w.map((x) => x ** -0.5),
        9,
      );
      expect(frobenius(await valuesOf(root), reference) / frobenius(reference)).toBeLessThanOrEqual(
        100 * eps.float64 * 1e12,
      );
      expect(residual).toBeLessThanOrEqual(100 * eps.float64 * 1e12);
    });
  });

  test("empty ones, views, an abort in the middle", async () => {
    expect((await matrixInverseRoot(Tensor.empty([0, 3, 3], { device }), 2)).reports).toEqual([]);
    const none = await matrixInverseRoot(Tensor.empty([2, 0, 0], { device }), 2);
    expect(none.reports.map((report) => report.converged)).toEqual([true, true]);
    const A = withSpectrum(spectrum(20, 10), 1);
    using wide = tensorOf(
      Array.from({ length: 20 * 23 }, (_, at) =>
        at % 23 < 20 ? A[Math.floor(at / 23) * 20 + (at % 23)]! : NaN,
      ),
      [20, 23],
      "float64",
      device,
    );
    using plain = tensorOf(A, [20, 20], "float64", device);
    const fromView = await matrixInverseRoot(wide.slice(1, 0, 20), 2);
    expect(await fromView.root.data()).toEqual(
      await (await matrixInverseRoot(plain, 2)).root.data(),
    );
    const n = 700;
    using large = tensorOf(withSpectrum(spectrum(n, 1e6), 2), [n, n], "float64", device);
    const controller = new AbortController();
    const running = matrixInverseRoot(large, 4, { method: "newton", signal: controller.signal });
    setTimeout(() => {
      controller.abort(new Error("enough"));
    }, 20);
    const start = performance.now();
    await expect(running).rejects.toThrow("enough");
    // Generous against a busy machine; the whole would take seconds.
    expect(performance.now() - start).toBeLessThan(250);
    // The kernel stops at its next product: the queue is free again at once. The emulator is slow.
    const after = performance.now();
    await (await matrixInverseRoot(plain, 2)).root.data();
    expect(performance.now() - after).toBeLessThan(device === "cpu" ? 500 : 2000);
  });

  test("what it refuses", async () => {
    const square = tensorOf([2, 0, 0, 2], [2, 2], "float32", device);
    const other = square.toDType("float64");
    const refused = async (run: Promise<unknown>, code: string) => {
      await expect(run).rejects.toMatchObject({ code });
    };
    await refused(matrixInverseRoot(Tensor.zeros([2, 3], { device }), 2), "SHAPE");
    await refused(matrixInverseRoot(square.toDType("int32"), 2), "DTYPE");
    for (const p of [0, 9, 1.5]) await refused(matrixInverseRoot(square, p), "ARGUMENT");
    for (const ridge of [-1, NaN, Infinity])
      await refused(matrixInverseRoot(square, 2, { ridge }), "ARGUMENT");
    await refused(matrixInverseRoot(square, 2, { method: "warm" as "eigh" }), "ARGUMENT");
    await refused(matrixInverseRoot(square, 2, { method: "eigh", warmStart: square }), "ARGUMENT");
    await refused(matrixInverseRoot(square, 2, { warmStart: other }), "DTYPE");
    await refused(matrixInverseRoot(square, 2, { warmStart: square.reshape([1, 2, 2]) }), "SHAPE");
    await refused(matrixInverseRoot(other, 2, { precision: "float32" }), "ARGUMENT");
    await refused(matrixInverseRoot(square, 2, { maxIterations: 0 }), "ARGUMENT");
    const shiftless = matrixInverseRoot(square, 4, {
      method: "newton",
      maxIterations: 1,
      tolerance: 1e-7,
    });
    await refused(shiftless, "NOT_CONVERGED");
    square.dispose();
    await refused(matrixInverseRoot(square, 2), "DISPOSED");
  });
});
