import { memoryStats } from "../../lib/binding/index.js";
import { cg, cgSync } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { vector } from "../helpers/flat-data.js";
import { eliminate, norm, times, withSpectrum } from "../helpers/symmetric.js";
import { settledMemory } from "../helpers/live-memory.js";

const kernels = ["vector_reduce", "axpby", "cg_update", "convert", "fill"];

eachDevice(
  "cg",
  (device) => {
    const n = device === "cpu" ? 61 : 17; // the emulator takes its time
    const condition = 100;
    const spectrum = Array.from({ length: n }, (_, i) => condition ** (i / (n - 1)));
    const A = withSpectrum(spectrum);
    const b = Float64Array.from(vector("float64", n, 7));
    const exact = eliminate(A, b);
    const tensor = (x: ArrayLike<number>, shape?: readonly number[]) =>
      Tensor.from(Float64Array.from(x), shape, { device });
    const residual = (x: ArrayLike<number>, M = A) =>
      norm(times(M, x).map((v, i) => v - b[i]!)) / norm(b);

    test.each(["float64", "float32"] as const)("a system of condition 100 in %s", async (dtype) => {
      const [matrix, rhs] = [tensor(A, [n, n]).toDType(dtype), tensor(b).toDType(dtype)];
      const found = await cg(matrix, rhs);
      const tolerance = dtype === "float64" ? 1e-10 : 1e-5;
      expect(found.reason).toBe("converged");
      expect(found.x.dtype).toBe(dtype);
      expect(found.residual).toBeLessThanOrEqual(tolerance);
      const x = (await found.x.data()) as Float64Array;
      expect(norm(x.map((v, i) => v - exact[i]!)) / norm(exact)).toBeLessThan(
        2 * condition * tolerance,
      );
      // Chebyshev's bound on the error, sqrt(condition) more for the residual.
      const rate = (Math.sqrt(condition) - 1) / (Math.sqrt(condition) + 1);
      expect(found.iterations).toBeLessThan(Math.log(tolerance / 2 / 10) / Math.log(rate) + 2);
      expect(found.iterations).toBeGreaterThan(10);
      const sync = cgSync(matrix, rhs);
      expect([sync.reason, sync.iterations, sync.residual]).toEqual([
        found.reason,
        found.iterations,
        found.residual,
      ]);
      for (const t of [matrix, rhs, found.x, sync.x]) t.dispose();
    });

    test("the residual returned is that of x", async () => {
      for (const maxIterations of [0, 1, 5, 12]) {
        const found = await cg(tensor(A, [n, n]), tensor(b), { maxIterations });
        expect([found.reason, found.iterations]).toEqual(["iterations", maxIterations]);
        expect(found.residual).toBeCloseTo(residual((await found.x.data()) as Float64Array), 11);
      }
    });

    test("as many steps as there are different eigenvalues", async () => {
      const M = withSpectrum(Array.from({ length: n }, (_, i) => [1, 3, 8][i % 3]!));
      const found = await cg(tensor(M, [n, n]), tensor(b));
      expect([found.reason, found.iterations]).toEqual(["converged", 3]);
    });

    test("a preconditioner: badly scaled, but solved as if it were not", async () => {
      const scale = Float64Array.from({ length: n }, (_, i) => 10 ** ((i % 7) - 3));
      const M = A.map((a, i) => a * scale[Math.floor(i / n)]! * scale[i % n]!);
      const inverse = tensor(
        M.map((m, i) => (i % (n + 1) === 0 ? 1 / m : 0)),
        [n, n],
      );
      const plain = await cg(tensor(M, [n, n]), tensor(b), { maxIterations: 2000 });
      const found = await cg(tensor(M, [n, n]), tensor(b), { preconditioner: inverse });
      expect(found.reason).toBe("converged");
      expect(residual((await found.x.data()) as Float64Array, M)).toBeLessThan(1.01e-10);
      expect(found.iterations * 3).toBeLessThan(plain.iterations);
      const identity = (x: Tensor) => x.contiguous();
      const same = await cg(tensor(A, [n, n]), tensor(b), { preconditioner: identity });
      const none = await cg(tensor(A, [n, n]), tensor(b));
      expect(Math.abs(same.iterations - none.iterations)).toBeLessThanOrEqual(2); // r^T r is rounded differently
    });

    test("a preconditioner that is not positive definite is an error", async () => {
      const minus = (x: Tensor) => tensor((x.dataSync() as Float64Array).map((v) => -v));
      await expect(
        cg(tensor(A, [n, n]), tensor(b), { preconditioner: minus }),
      ).rejects.toMatchObject({
        code: "NOT_POSITIVE_DEFINITE",
      });
    });

    test("a good first guess saves iterations, the solution needs none", async () => {
      const [matrix, rhs] = [tensor(A, [n, n]), tensor(b)];
      const start = tensor(exact.map((x) => x * (1 + 1e-6)));
      const near = await cg(matrix, rhs, { start, maxIterations: 5 });
      const far = await cg(matrix, rhs, { maxIterations: 5 });
      expect(near.residual).toBeLessThan(far.residual * 1e-5);
      expect(await start.data()).toEqual(exact.map((x) => x * (1 + 1e-6)));
      const there = await cg(matrix, rhs, { start: tensor(exact) });
      expect([there.reason, there.iterations]).toEqual(["converged", 0]);
    });

    test("negative curvature: the direction, its curvature, and the x before it", async () => {
      const M = withSpectrum(spectrum.map((x, i) => (i === n >> 1 ? -5 : x)));
      const found = await cg(tensor(M, [n, n]), tensor(b));
      expect(found.reason).toBe("indefinite");
      expect(found.curvature).toBeLessThan(0);
      const p = (await found.direction!.data()) as Float64Array;
      const curvature = times(M, p).reduce((sum, v, i) => sum + v * p[i]!, 0);
      expect(found.curvature / curvature).toBeCloseTo(1, 9);
      const x = (await found.x.data()) as Float64Array;
      expect(found.residual).toBeCloseTo(residual(x, M), 9);
      // The first direction is b itself: x has not moved.
      const minus = await cg(
        tensor(
          A.map((v) => -v),
          [n, n],
        ),
        tensor(b),
      );
      expect([minus.reason, minus.iterations, minus.residual]).toEqual(["indefinite", 1, 1]);
      expect(await minus.direction!.data()).toEqual(b);
      expect(minus.x.dataSync()).toEqual(new Float64Array(n));
    });

    test("more than the precision allows is stalled, not converged", async () => {
      const [matrix, rhs] = [tensor(A, [n, n]).toDType("float32"), tensor(b).toDType("float32")];
      const found = await cg(matrix, rhs, { tolerance: 1e-12, maxIterations: 10_000 });
      expect(found.reason).toBe("stalled");
      expect(found.residual).toBeLessThan(1e-5);
      expect(found.residual).toBeGreaterThan(1e-12);
      expect(found.iterations).toBeLessThan(1000);
    });

    test("b = 0, n = 0 and n = 1", async () => {
      const start = tensor(exact);
      const zero = await cg(tensor(A, [n, n]), tensor(new Float64Array(n)), { start });
      expect([zero.reason, zero.iterations, zero.residual]).toEqual(["converged", 0, 0]);
      expect(await zero.x.data()).toEqual(new Float64Array(n));
      const empty = await cg(tensor([], [0, 0]), tensor([]));
      expect([empty.reason, empty.x.shape]).toEqual(["converged", [0]]);
      expect(await cgSync(tensor([4], [1, 1]), tensor([2])).x.data()).toEqual(
        new Float64Array([0.5]),
      );
    });

    test("an abort, errors and NaN leave nothing behind; arguments are not changed", async () => {
      const rhs = tensor(b);
      const before = (await settledMemory()).liveBlocks;
      const controller = new AbortController();
      let calls = 0;
      const operator = (x: Tensor) => {
        if (++calls === 4) controller.abort(new Error("enough"));
        return tensor(times(A, x.dataSync() as Float64Array));
      };
      await expect(cg(operator, rhs, { signal: controller.signal })).rejects.toThrow("enough");
      expect(calls).toBe(4);
      const failing = (x: Tensor) => {
        if (++calls > 7) throw new RangeError("no more");
        return operator(x);
      };
      expect(() => cgSync(failing, rhs)).toThrow("no more");
      const bad = () => tensor(new Float64Array(n).fill(NaN));
      expect(() => cgSync(bad, rhs)).toThrow(/not finite in iteration 0/);
      const nan = tensor(b.map((v, i) => (i === 3 ? NaN : v)));
      expect(() => cgSync(operator, nan)).toThrow(/b is not finite/);
      nan.dispose();
      expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
      expect(await rhs.data()).toEqual(b);
    });

    test("what it refuses", async () => {
      const [matrix, rhs] = [tensor(A, [n, n]), tensor(b)];
      const refuse = (operator: unknown, right: unknown, options: object, message: RegExp) =>
        expect(cg(operator as Tensor, right as Tensor, options)).rejects.toThrow(message);
      await refuse(matrix, tensor([1]), {}, /shape \[1, 1\] for operator/);
      await refuse(matrix, matrix, {}, /shape \[n\] for b/);
      await refuse(matrix, rhs.toDType("int32"), {}, /dtype of b/);
      await refuse(undefined, rhs, {}, /for operator/);
      await refuse(matrix, rhs, { start: tensor([1]) }, /shape \[\d+\] for start/);
      await refuse(matrix, rhs, { start: rhs.toDType("float32") }, /dtype of start/);
      await refuse(matrix, rhs, { tolerance: 0 }, /for tolerance/);
      await refuse(matrix, rhs, { maxIterations: -1 }, /for maxIterations/);
      await refuse(matrix, rhs, { preconditioner: tensor([1], [1, 1]) }, /for preconditioner/);
      rhs.dispose();
      await refuse(matrix, rhs, {}, /disposed/);
    });
  },
  kernels,
);
