/** Derivatives of the matrix square roots: against exact gradients, and against differences to second order. */
import { add, gradcheck, grad, matmul, mul, scale, sum } from "../../lib/autodiff/index.js";
import {
  matrixInverseSqrtSync,
  matrixSqrtSync,
  solveLyapunovSync,
} from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { normal } from "../helpers/gptq-oracle.js";
import { distance, tensorOf, valuesOf } from "../helpers/spectral.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  readonly cases: readonly {
    readonly name: string;
    readonly A: number[][];
    readonly grad_out: number[][];
    readonly grad_in_sqrt: number[][];
    readonly grad_in_inv_sqrt: number[][];
  }[];
}
const { cases } = readVectors<Vectors>("matsqrt.json");

describe("matrixSqrt, derivatives", () => {
  test.each(cases)("the exact gradients of $name", async (vector) => {
    const a = tensorOf(vector.A.flat(), [6, 6], "float64", "cpu");
    const weights = tensorOf(vector.grad_out.flat(), [6, 6], "float64", "cpu");
    for (const [root, reference] of [
      [matrixSqrtSync, vector.grad_in_sqrt],
      [matrixInverseSqrtSync, vector.grad_in_inv_sqrt],
    ] as const) {
      const [gradient] = grad(() => sum(mul(weights, root(a).root)), [a]);
      expect(distance(await valuesOf(gradient!), reference.flat())).toBeLessThan(1e-12);
    }
  });

  /** B B^T / n + I: symmetric whatever element of B moves. */
  const definite = (b: Tensor, n: number) => {
    const one = Tensor.from(
      Float64Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
      [n, n],
    );
    return add(scale(matmul(b, b.transpose()), 1 / n), one);
  };
  const random = (shape: number[], seed: number) =>
    tensorOf(
      Array.from({ length: shape.reduce((a, b) => a * b, 1) }, normal(seed)),
      shape,
      "float64",
      "cpu",
    );

  test.each([
    ["sqrt", matrixSqrtSync],
    ["inverse", matrixInverseSqrtSync],
  ] as const)("%s: first and second derivatives against differences, a batch too", (_, root) => {
    for (const shape of [
      [3, 3],
      [2, 2, 2],
    ]) {
      const b = random(shape, 7);
      const report = gradcheck(() => root(definite(b, shape.at(-1) ?? 0)).root, [b]);
      expect(report.failures).toEqual([]);
      expect(report.passed).toBe(true);
    }
  });

  test("solveLyapunov: first and second derivatives in both", () => {
    const [b, g] = [random([3, 3], 1), random([3, 3], 2)];
    const report = gradcheck(() => solveLyapunovSync(definite(b, 3), g).solution, [b, g]);
    expect(report.failures).toEqual([]);
  });
});
