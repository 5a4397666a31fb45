import { memoryStats } from "../../lib/binding/index.js";
import { lanczos, lanczosSync, tridiagonalEigen } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { norm, times, withSpectrum } from "../helpers/symmetric.js";

const close = (got: ArrayLike<number>, wanted: readonly number[], bound: number) => {
  expect(got.length).toBe(wanted.length);
  const worst = wanted.reduce((m, x, i) => Math.max(m, Math.abs(got[i]! - x)), 0);
  expect(worst).toBeLessThanOrEqual(bound);
};

const kernels = ["vector_reduce", "axpby", "combine_rows", "random_fill", "convert"];

eachDevice(
  "lanczos",
  (device) => {
    const diagonal = (values: readonly number[]) =>
      Tensor.from(
        Float64Array.from({ length: values.length ** 2 }, (_, i) =>
          i % (values.length + 1) === 0 ? values[i / (values.length + 1)]! : 0,
        ),
        [values.length, values.length],
        { device },
      );
    const ones = (n: number) => Tensor.from(new Float64Array(n).fill(1), undefined, { device });

    test("diag(1, 2, 3, 4) from ones: all eigenvalues, the published coefficients", async () => {
      const found = await lanczos(diagonal([1, 2, 3, 4]), { start: ones(4), steps: 10 });
      close(found.alphas, [2.5, 2.5, 2.5, 2.5], 1e-14);
      close(found.betas, [1.11803399, 0.89442719, 0.67082039], 5e-9);
      close(found.values, [1, 2, 3, 4], 1e-13);
      expect(found.exhausted).toBe(true);
      close(found.residuals, [0, 0, 0, 0], 1e-13);
      close(found.weights, [0.25, 0.25, 0.25, 0.25], 1e-13);
      expect(found.vectors).toBeUndefined();
    });

    test("three steps: nodes, weights, and moments exact to degree 5", () => {
      const found = lanczosSync(diagonal([1, 2, 3, 4]), { start: ones(4), steps: 3 });
      close(found.values, [1.06821789, 2.5, 3.93178211], 5e-9);
      close(found.weights, [0.30487805, 0.3902439, 0.30487805], 5e-9);
      [1, 2.5, 7.5, 25, 88.5, 325].forEach((moment, power) => {
        const sum = found.values.reduce((s, x, i) => s + found.weights[i]! * x ** power, 0);
        expect(Math.abs(sum / moment - 1)).toBeLessThan(1e-13);
      });
      expect(found.exhausted).toBe(false);
    });

    const n = 90;
    const spectrum = Array.from({ length: n }, (_, i) => (i < 4 ? [-30, 55, 70, 100][i]! : i / n));
    const A = withSpectrum(spectrum);

    test.each(["float64", "float32"] as const)(
      "outliers and their vectors, basis in %s",
      async (dtype) => {
        using matrix = Tensor.from(A, [n, n], { device });
        using single = matrix.toDType(dtype);
        const options = { steps: 24, dtype, seed: 3, vectors: { largest: 3, smallest: 1 } };
        const found = await lanczos(single, options);
        const eps = dtype === "float64" ? 2 ** -52 : 2 ** -23;
        const wanted = [-30, 55, 70, 100];
        close([found.values[0]!, ...found.values.slice(-3)], wanted, 100 * n * eps);
        using vectors = found.vectors!;
        expect([vectors.shape, vectors.dtype]).toEqual([[4, n], dtype]);
        const all = Float64Array.from((await vectors.data()) as Float64Array);
        for (let k = 0; k < 4; ++k) {
          const y = all.slice(k * n, (k + 1) * n);
          const residual = norm(times(A, y).map((x, i) => x - wanted[k]! * y[i]!));
          expect(residual).toBeLessThanOrEqual(200 * n * eps);
          for (let l = 0; l <= k; ++l) {
            const dot = y.reduce((sum, x, i) => sum + x * all[l * n + i]!, 0);
            expect(Math.abs(dot - Number(k === l))).toBeLessThan(8 * n * eps);
          }
        }
        const sync = lanczosSync(single, options);
        expect(sync.values).toEqual(found.values);
        sync.vectors?.dispose();
      },
    );

    test("a Ritz value is within its residual of an eigenvalue; no ghosts after 60 steps", () => {
      const found = lanczosSync(Tensor.from(A, [n, n], { device }), { steps: 60, seed: 5 });
      found.values.forEach((value, k) => {
        const nearest = Math.min(...spectrum.map((x) => Math.abs(x - value)));
        expect(nearest).toBeLessThanOrEqual(found.residuals[k]! + 1e-11);
      });
      expect(found.values.filter((x) => x > 99)).toHaveLength(1);
      expect(found.values.filter((x) => x < -1)).toHaveLength(1);
    });

    test("float32 products in a float64 basis stay orthonormal: V V^T = I to 1e-10", () => {
      using matrix = Tensor.from(Float32Array.from(A), [n, n], { device });
      const found = lanczosSync(matrix, { steps: 40, vectors: { largest: 40 } });
      using vectors = found.vectors!;
      const V = vectors.dataSync() as Float64Array;
      for (let k = 0; k < 40; ++k) {
        for (let l = 0; l <= k; ++l) {
          let dot = 0;
          for (let i = 0; i < n; ++i) dot += V[k * n + i]! * V[l * n + i]!;
          expect(Math.abs(dot - Number(k === l))).toBeLessThan(1e-10);
        }
      }
    });

    test("an invariant subspace ends it", () => {
      const start = Tensor.from(new Float64Array([0, 1, 0, 1]), undefined, { device });
      const options = { start, vectors: { largest: 3, smallest: 1 } };
      const found = lanczosSync(diagonal([1, 2, 3, 4]), options);
      expect(found.exhausted).toBe(true);
      close(found.values, [2, 4], 1e-14);
      expect(found.vectors!.shape).toEqual([2, 4]);
    });

    test("n = 0, 1, and the zero matrix", () => {
      expect(lanczosSync(diagonal([])).values).toHaveLength(0);
      close(lanczosSync(diagonal([-7])).values, [-7], 1e-14);
      close(lanczosSync(diagonal([0, 0, 0])).values, [0], 0);
    });

    test("an operator as a function, waiting or not, given what it asked for", async () => {
      using matrix = Tensor.from(A, [n, n], { device });
      const seen = new Set<string>();
      const operator = (x: Tensor) => {
        seen.add(`${x.dtype} ${x.shape.join()}`);
        const y = times(A, x.dataSync() as Float64Array);
        return Tensor.from(y, undefined, { device });
      };
      const options = { size: n, device, steps: 8, operatorDType: "float64" } as const;
      const reference = lanczosSync(matrix, options);
      close(lanczosSync(operator, options).values, [...reference.values], 1e-11);
      const later = async (x: Tensor) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return operator(x);
      };
      close((await lanczos(later, options)).values, [...reference.values], 1e-11);
      expect([...seen]).toEqual([`float64 ${n}`]);
      seen.clear();
      lanczosSync(operator, { size: n, device, steps: 2 });
      expect([...seen]).toEqual([`float32 ${n}`]);
    });

    test("an abort, an error of the operator, and NaN leave nothing behind", async () => {
      const zeros = () => Tensor.zeros([6], { device });
      using start = Tensor.from(new Float32Array(6).fill(1), undefined, { device });
      const live = () => memoryStats().liveBlocks;
      const before = live();
      let calls = 0;
      const failing = (x: Tensor) => {
        if (++calls === 3) throw new RangeError("no more");
        return Tensor.from(
          Float32Array.from(x.dataSync() as Float32Array, (v, i) => v * (i + 1)),
          undefined,
          { device },
        );
      };
      expect(() => lanczosSync(failing, { start })).toThrow(new RangeError("no more"));
      calls = 0;
      await expect(lanczos(failing, { start })).rejects.toThrow("no more");
      const controller = new AbortController();
      const reason = new Error("enough");
      const aborting = async (x: Tensor) => {
        controller.abort(reason);
        await new Promise((resolve) => setTimeout(resolve, 5));
        return x.contiguous();
      };
      await expect(lanczos(aborting, { start, signal: controller.signal })).rejects.toBe(reason);
      await expect(lanczos(aborting, { start, signal: controller.signal })).rejects.toBe(reason);
      await new Promise((resolve) => setTimeout(resolve, 20));
      const bad = () => Tensor.from(new Float32Array(6).fill(NaN), undefined, { device });
      const found = { code: "NON_FINITE", details: { iteration: 0 } };
      await expect(lanczos(bad, { start })).rejects.toMatchObject(found);
      expect(() => lanczosSync(() => Tensor.zeros([5], { device }), { start })).toThrow(
        /shape \[6\] for the result/,
      );
      expect(() => lanczosSync((x) => x, { start })).toThrow(
        /a new tensor for the result of operator/,
      );
      const promise = (() => Promise.resolve(zeros())) as unknown as () => Tensor;
      expect(() => lanczosSync(promise, { start })).toThrow(/a tensor for the result of operator/);
      // One tensor was in a promise that nobody could wait for.
      expect(live() - before).toBeLessThanOrEqual(1);
    });

    test("what it refuses", () => {
      const A = diagonal([1, 2]);
      const refuse = (operator: unknown, options: object, message: RegExp) => {
        expect(() => lanczosSync(operator as Tensor, options)).toThrow(message);
      };
      refuse(3, { size: 2 }, /a matrix or a function for operator/);
      refuse(Tensor.zeros([2, 3], { device }), {}, /shape \[2, 2\] for operator/);
      refuse(A, { start: ones(3) }, /shape \[3, 3\] for operator/);
      refuse(() => A, {}, /for size/);
      refuse(A, { steps: 0 }, /for steps/);
      refuse(A, { vectors: { largest: 2, smallest: 1 } }, /at most 2 Ritz vectors/);
      refuse(A, { start: Tensor.zeros([2], { device }) }, /not zero for start/);
      refuse(A, { tolerance: -1 }, /for tolerance/);
      refuse(A, { seed: -1 }, /for seed/);
      refuse(A.toDType("int32"), {}, /dtype of operator/);
    });
  },
  kernels,
);

describe("tridiagonalEigen", () => {
  test.each([0, 1, 2, 5, 60])("order %i: T Q = Q diag, Q orthogonal", (n) => {
    const d = Float64Array.from({ length: n }, (_, i) => Math.sin(3 * i) * 4);
    const e = Float64Array.from({ length: Math.max(n - 1, 0) }, (_, i) =>
      i % 7 === 3 ? 0 : Math.cos(i),
    );
    const { values, vectors } = tridiagonalEigen(d, e);
    const q = (i: number, k: number) => (i < 0 || i >= n ? 0 : vectors[i * n + k]!);
    for (let k = 0; k < n; ++k) {
      if (k > 0) expect(values[k]!).toBeGreaterThanOrEqual(values[k - 1]!);
      for (let i = 0; i < n; ++i) {
        const product = d[i]! * q(i, k) + (e[i] ?? 0) * q(i + 1, k) + (e[i - 1] ?? 0) * q(i - 1, k);
        expect(Math.abs(product - values[k]! * q(i, k))).toBeLessThan(1e-13 * n);
        const dot = Array.from({ length: n }, (_, j) => q(j, i) * q(j, k)).reduce(
          (a, b) => a + b,
          0,
        );
        expect(Math.abs(dot - Number(i === k))).toBeLessThan(1e-14 * n);
      }
    }
  });

  test("the second difference: 2 - 2 cos(k pi / (n + 1)); a graded matrix; what is not finite", () => {
    const n = 40;
    const { values } = tridiagonalEigen(
      new Float64Array(n).fill(2),
      new Float64Array(n - 1).fill(-1),
    );
    close(
      values,
      Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1))),
      1e-14,
    );
    const graded = tridiagonalEigen([1e12, 1, 1e-12], [1e5, 1e-7]);
    expect(graded.values.reduce((a, b) => a + b, 0) / (1e12 + 1 + 1e-12)).toBeCloseTo(1, 14);
    expect(() => tridiagonalEigen([1, NaN], [0])).toThrow(/not finite/);
  });
});
