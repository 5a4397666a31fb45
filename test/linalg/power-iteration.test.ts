import {
  powerIteration,
  powerIterationSync,
  traceEstimate,
  traceEstimateSync,
} from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { norm, times, withSpectrum } from "../helpers/symmetric.js";
import { readVectors } from "../helpers/vectors.js";

interface Hawq {
  readonly matrix: number[][];
  readonly eigenvalues_ascending: number[];
  readonly trace: number;
  readonly hutchinson_variance: number;
  readonly power_iteration: { readonly rayleigh: number[]; readonly stop_iter_tol_1e_3: number };
}

const kernels = ["vector_reduce", "axpby", "combine_rows", "random_fill", "convert"];

eachDevice(
  "power iteration and trace",
  (device) => {
    const hawq = readVectors<Hawq>("hawq.json");
    const A = Float64Array.from(hawq.matrix.flat());
    const matrix = () => Tensor.from(A, [5, 5], { device });
    const start = () =>
      Tensor.from(new Float64Array(5).fill(1 / Math.sqrt(5)), undefined, { device });

    test("hawq.json: the quotients of every pass, and where it stops", async () => {
      const { rayleigh, stop_iter_tol_1e_3 } = hawq.power_iteration;
      for (let passes = 1; passes <= rayleigh.length; ++passes) {
        const options = { start: start(), maxIterations: passes, tolerance: 1e-15 };
        const found = powerIterationSync(matrix(), options);
        // The vectors' lengths had 1e-6 added: 2e-6 relative.
        expect(Math.abs(found.values[0]! / rayleigh[passes - 1]! - 1)).toBeLessThan(1e-5);
        expect([found.iterations, found.converged]).toEqual([[passes], [false]]);
      }
      const found = await powerIteration(matrix(), { start: start() });
      expect([found.iterations, found.converged]).toEqual([[stop_iter_tol_1e_3 + 1], [true]]);
      expect(Math.abs(found.values[0]! / rayleigh[stop_iter_tol_1e_3]! - 1)).toBeLessThan(1e-5);
    });

    test("all eigenvalues by falling magnitude, with vectors and their residuals", async () => {
      const wanted = [...hawq.eigenvalues_ascending].sort((a, b) => Math.abs(b) - Math.abs(a));
      const options = { count: 5, maxIterations: 500, tolerance: 1e-13, seed: 2 };
      const found = await powerIteration(matrix(), options);
      wanted.forEach((value, k) => {
        expect(Math.abs(found.values[k]! - value)).toBeLessThan(1e-9);
      });
      const vectors = (await found.vectors.data()) as Float64Array;
      for (let k = 0; k < 5; ++k) {
        const v = vectors.slice(5 * k, 5 * k + 5);
        expect(Math.abs(norm(v) - 1)).toBeLessThan(1e-14);
        const residual = norm(times(A, v).map((x, i) => x - found.values[k]! * v[i]!));
        expect(Math.abs(residual - found.residuals[k]!)).toBeLessThan(1e-12);
        expect(residual).toBeLessThan(1e-4);
      }
      expect(powerIterationSync(matrix(), options).values).toEqual(found.values);
    });

    test("float32, a negative top eigenvalue, the zero matrix, n = 1", async () => {
      const M = withSpectrum([-9, 4, 2, 1, 0.5, 0.25, 0.1]);
      const single = Tensor.from(Float32Array.from(M), [7, 7], { device });
      const found = await powerIteration(single, { dtype: "float32", tolerance: 1e-7 });
      expect(Math.abs(found.values[0]! + 9)).toBeLessThan(7 * 9 * 2 ** -23);
      const zero = await powerIteration(Tensor.zeros([3, 3], { device }), { count: 2 });
      expect([[...zero.values], zero.converged]).toEqual([
        [0, 0],
        [true, true],
      ]);
      expect((await powerIteration(Tensor.from([-2], [1, 1], { device }))).values[0]).toBe(-2);
    });

    test("trace: within five standard errors, which are the stated ones", async () => {
      const probes = device === "cpu" ? 4000 : 400;
      const options = { maxProbes: probes, tolerance: 0, seed: 11 };
      const found = await traceEstimate(matrix(), options);
      const error = Math.sqrt(hawq.hutchinson_variance / probes);
      expect([found.probes, found.converged]).toEqual([probes, false]);
      expect(Math.abs(found.trace - hawq.trace)).toBeLessThan(5 * error);
      expect(found.standardError / error).toBeCloseTo(1, 1);
      const few = { ...options, maxProbes: 7 };
      expect(traceEstimateSync(matrix(), few)).toEqual(await traceEstimate(matrix(), few));
    });

    test("trace: a diagonal matrix needs one probe, and settles at the second", async () => {
      const diagonal = Tensor.from(new Float64Array([3, 0, 0, -1]), [2, 2], { device });
      const found = await traceEstimate(diagonal);
      expect([found.trace, found.probes, found.converged]).toEqual([2, 2, true]);
      expect(found.standardError).toBe(0);
      expect((await traceEstimate(diagonal, { maxProbes: 1 })).standardError).toBeNaN();
    });

    test("what they refuse; NaN", async () => {
      const nan = () => Tensor.from(new Float32Array(4).fill(NaN), undefined, { device });
      const found = { code: "NON_FINITE", details: { iteration: 0 } };
      await expect(powerIteration(nan, { size: 4, device })).rejects.toMatchObject(found);
      await expect(traceEstimate(nan, { size: 4, device })).rejects.toMatchObject(found);
      expect(() => powerIterationSync(matrix(), { count: 6 })).toThrow(/for count/);
      expect(() => powerIterationSync(matrix(), { maxIterations: 0 })).toThrow(/for maxIterations/);
      expect(() => powerIterationSync(matrix(), { tolerance: 0 })).toThrow(/for tolerance/);
      const zero = Tensor.zeros([5], { device });
      expect(() => powerIterationSync(matrix(), { start: zero })).toThrow(/not zero for start/);
      expect(() => traceEstimateSync(matrix(), { maxProbes: 0 })).toThrow(/for maxProbes/);
      expect(() => traceEstimateSync(matrix(), { size: 4 })).toThrow(/operator/);
    });
  },
  kernels,
);
