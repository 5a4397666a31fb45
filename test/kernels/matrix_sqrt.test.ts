import { setThreads } from "../../lib/binding/index.js";
import {
  matrixInverseSqrt,
  matrixInverseSqrtSync,
  matrixSqrt,
  matrixSqrtSync,
  type MatrixSqrtMethod,
} from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
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
  readonly cases: readonly {
    readonly name: string;
    readonly A: number[][];
    readonly sqrt: number[][];
    readonly inv_sqrt: number[][];
    readonly mtp10: number[][];
    readonly mpa55: number[][];
    readonly mpa55_inv: number[][];
    readonly ns_sqrt_5: number[][];
    readonly ns_inv_sqrt_5: number[][];
    readonly ns_sqrt_12: number[][];
  }[];
}
const { cases } = readVectors<Vectors>("matsqrt.json");
const { matrices } = readVectors<{
  readonly matrices: readonly {
    readonly name: string;
    A: number[][];
    cond: number;
    sqrt: number[][];
  }[];
}>("roots.json");
const methods: readonly MatrixSqrtMethod[] = ["newtonSchulz", "taylor", "pade"];

/** The scalar function that a method applies to each eigenvalue, in plain float64. */
function scalarOf(method: MatrixSqrtMethod, inverse: boolean, norm: number, degree = 10) {
  const polynomial = (c: readonly number[], z: number) => c.reduceRight((sum, x) => sum * z + x, 0);
  const taylor = [1];
  for (let k = 0; k < degree; ++k)
    taylor.push((taylor[k]! * (k + (inverse ? 0.5 : -0.5))) / (k + 1));
  const fraction = (z: number) => {
    let sum = 1;
    for (let j = 1; j <= 5; ++j) {
      const angle = (j * Math.PI) / 11;
      sum -= ((2 / 11) * Math.sin(angle) ** 2 * z) / (1 - Math.cos(angle) ** 2 * z);
    }
    return inverse ? 1 / sum : sum;
  };
  const scale = inverse ? 1 / Math.sqrt(norm) : Math.sqrt(norm);
  return (w: number) => {
    const z = 1 - w / norm;
    if (method === "newtonSchulz") return inverse ? 1 / Math.sqrt(w) : Math.sqrt(w);
    return scale * (method === "taylor" ? polynomial(taylor, z) : fraction(z));
  };
}

eachDevice("matrix_sqrt", (device) => {
  test.each(cases)("the vectors, $name", async (vector) => {
    using a = tensorOf(vector.A.flat(), [6, 6], "float64", device);
    const check = async (
      result: Promise<{ root: Tensor }>,
      reference: number[][],
      within: number,
    ) => {
      const { root } = await result;
      expect(distance(await valuesOf(root), reference.flat())).toBeLessThan(within);
      root.dispose();
    };
    await check(matrixSqrt(a), vector.sqrt, 1e-13);
    await check(matrixInverseSqrt(a), vector.inv_sqrt, 1e-13);
    await check(matrixSqrt(a, { method: "taylor" }), vector.mtp10, 1e-13);
    await check(matrixSqrt(a, { method: "pade" }), vector.mpa55, 1e-12);
    await check(matrixInverseSqrt(a, { method: "pade" }), vector.mpa55_inv, 1e-12);
    await check(matrixSqrt(a, { steps: 5 }), vector.ns_sqrt_5, 1e-13);
    await check(matrixInverseSqrt(a, { steps: 5 }), vector.ns_inv_sqrt_5, 1e-13);
    await check(matrixSqrt(a, { steps: 12 }), vector.ns_sqrt_12, 1e-13);
  });

  test.each(matrices)("the square roots of $name", async ({ A, cond, sqrt }) => {
    using a = tensorOf(A.flat(), [8, 8], "float64", device);
    const { root, residual } = await matrixSqrt(a);
    const scale = largest(sqrt.flat());
    expect(distance(await valuesOf(root), sqrt.flat()) / scale).toBeLessThan(
      64 * eps.float64 * Math.sqrt(cond),
    );
    expect(residual).toBeLessThan(64 * eps.float64 * Math.sqrt(cond));
  });

  test.each([1, 2, 31, 33, 65, 130])(
    "a function of the eigenvalues, n = %i, every method",
    async (n) => {
      const w = spectrum(n, 30).map((x) => 3 * x);
      const norm = frobenius(w);
      for (const dtype of ["float32", "float64"] as const) {
        using a = tensorOf(withSpectrum(w, n), [n, n], dtype, device);
        for (const method of methods)
          for (const inverse of [false, true]) {
            const compute = inverse ? matrixInverseSqrt : matrixSqrt;
            const { root, residual, iterations } = await compute(a, {
              method,
              tolerance: Infinity,
            });
            const reference = withSpectrum(w.map(scalarOf(method, inverse, norm)), n);
            const X = await valuesOf(root);
            // The coefficients of the Pade approximant cancel up to the condition of Q, 1024.
            const growth = (method === "pade" ? 1024 : 16) * (inverse ? 30 : 1);
            expect(distance(X, reference)).toBeLessThanOrEqual(
              growth * (n + 8) * eps[dtype] * largest(reference),
            );
            if (n > 1) expect(iterations > 0).toBe(method === "newtonSchulz");
            const A = await valuesOf(a);
            const square = multiply(X, X, n, n, n);
            const exact = inverse
              ? frobenius(multiply(square, A, n, n, n), identity(n)) / Math.sqrt(n)
              : frobenius(square, A) / frobenius(A);
            // Beyond n = 32 an estimate from 32 probes: a standard error of a quarter.
            const slack = n <= 32 ? 1e-3 : 0.75;
            expect(Math.abs(residual - exact)).toBeLessThanOrEqual(
              slack * exact + 64 * (n + 8) * eps[dtype] * (inverse ? 30 : 1),
            );
            root.dispose();
          }
      }
    },
  );

  test("float32 at condition 1e6, and a diagonal of many sizes", async () => {
    const w = spectrum(64, 1e6);
    using a = tensorOf(withSpectrum(w, 5), [64, 64], "float32", device);
    const { residual } = await matrixSqrt(a);
    expect(residual).toBeLessThan(1e-4);
    const diagonal = [1e-8, 1, 1e4, 3];
    using d = tensorOf(
      identity(4).map((x, i) => x * diagonal[i % 4]!),
      [4, 4],
      "float64",
      device,
    );
    const { root } = await matrixSqrt(d);
    const values = await valuesOf(root);
    diagonal.forEach((x, i) => {
      expect(Math.abs(values[5 * i]! - Math.sqrt(x))).toBeLessThan(1e-9);
    });
  });

  test("zero, singular, empty, one element, batches, scale, threads", async () => {
    using zero = Tensor.zeros([3, 3], { device });
    expect(Array.from(await (await matrixSqrt(zero)).root.data())).toEqual(new Array(9).fill(0));
    using one = tensorOf([9], [1, 1], "float64", device);
    expect((await valuesOf((await matrixSqrt(one)).root))[0]).toBeCloseTo(3, 14);
    expect((await valuesOf((await matrixInverseSqrt(one)).root))[0]).toBeCloseTo(1 / 3, 14);
    using flat = tensorOf([4, 4, 4, 4], [2, 2], "float64", device);
    const half = await valuesOf((await matrixSqrt(flat)).root);
    expect(distance(half, new Array<number>(4).fill(Math.SQRT2))).toBeLessThan(1e-6);
    for (const shape of [
      [0, 3, 3],
      [2, 0, 0],
    ])
      expect((await matrixSqrt(Tensor.empty(shape, { device }))).root.shape).toEqual(shape);
    const n = 40;
    const values = [1, 2, 3].flatMap((seed) => Array.from(withSpectrum(spectrum(n, 20), seed)));
    using batch = tensorOf(values, [3, n, n], "float64", device);
    const results = [];
    for (const threads of [1, 2]) {
      setThreads(threads);
      results.push(await matrixSqrtSync(batch).root.data());
    }
    expect(results[1]).toEqual(results[0]);
    using last = batch.slice(0, 2, 3);
    expect(await matrixSqrtSync(last).root.data()).toEqual(results[0]!.slice(2 * n * n));
    for (const factor of [1e300, 1e-300]) {
      using scaled = tensorOf(
        values.map((x) => factor * x),
        [3, n, n],
        "float64",
        device,
      );
      const { root } = matrixSqrtSync(scaled);
      const back = (await valuesOf(root)).map((x) => x / Math.sqrt(factor));
      expect(distance(back, results[0]!)).toBeLessThan(1e-13);
    }
  });

  test("what it refuses", async () => {
    const refused = async (run: Promise<unknown>, expected: object) => {
      await expect(run).rejects.toMatchObject(expected);
    };
    const make = (values: number[], shape = [2, 2]) => tensorOf(values, shape, "float64", device);
    await refused(matrixSqrt(make([1, 2, 2, 1])), { code: "NOT_POSITIVE_DEFINITE" });
    await refused(matrixInverseSqrt(make([0, 0, 0, 0])), { code: "NOT_POSITIVE_DEFINITE" });
    // Singular: rounding decides which of the two.
    await refused(matrixInverseSqrt(make([1, 1, 1, 1])), {
      code: expect.stringMatching(/NOT_POSITIVE_DEFINITE|NOT_CONVERGED/) as string,
    });
    await refused(matrixSqrt(make([1, NaN, NaN, 1])), {
      code: "NON_FINITE",
      details: { index: 1 },
    });
    await refused(matrixSqrt(make([1, 0.5, 0.25, 1])), { code: "ARGUMENT" });
    await refused(matrixInverseSqrt(make([1, 0, 0, 1e-6]), { steps: 2 }), {
      code: "NOT_CONVERGED",
      details: { iterations: 2 },
    });
    await refused(matrixInverseSqrt(make([1, 0, 0, 1e-6]), { method: "taylor" }), {
      code: "NOT_CONVERGED",
    });
    await refused(matrixSqrt(make([1, 2], [1, 2])), { code: "SHAPE" });
    await refused(matrixSqrt(make([1, 2], [2])), { code: "SHAPE" });
    await refused(
      matrixSqrt(Tensor.zeros([2, 2], { device, dtype: "int32" }) as unknown as Tensor),
      {
        code: "DTYPE",
      },
    );
    const a = make([1, 0, 0, 1]);
    await refused(matrixSqrt(a, { method: "svd" as "pade" }), { code: "ARGUMENT" });
    await refused(matrixSqrt(a, { method: "pade", steps: 3 }), { code: "ARGUMENT" });
    await refused(matrixSqrt(a, { steps: -1 }), { code: "ARGUMENT" });
    await refused(matrixSqrt(a, { tolerance: NaN }), { code: "ARGUMENT" });
    await refused(matrixSqrt(a, { signal: AbortSignal.abort(new Error("enough")) }), {
      message: "enough",
    });
    a.dispose();
    await refused(matrixSqrt(a), { code: "DISPOSED" });
    expect(() => matrixInverseSqrtSync(a)).toThrow(/disposed/);
  });
});
