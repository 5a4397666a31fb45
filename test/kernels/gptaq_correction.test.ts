import { run } from "../../lib/binding/index.js";
import { gptaqCorrection } from "../../lib/ops/gptaq-correction.js";
import { gptqFactor } from "../../lib/ops/gptq-factor.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, conditionalOptimum, matrix, normal } from "../helpers/gptq-oracle.js";
import { nested } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

const vectors = readVectors<{ H: number[][]; dXXT: number[][]; percdamp: number; P: number[][] }>(
  "gptaq.json",
);

/** P[q, F] = D[q, F] H_FF^-1, F the later columns: what the published method adds for column q, by elimination. */
function published(H: number[][], D: number[][], order: Int32Array): number[][] {
  return H.map((_, q) => {
    const row = new Array<number>(H.length).fill(0);
    // conditionalOptimum gives (w - q) H_SF H_FF^-1: put D's row where H's would be.
    const swapped = H.map((h, i) => (i === order[q] ? D[i]! : h));
    const later = order.slice(q);
    conditionalOptimum(swapped, [1], [0], later).forEach((value, i) => (row[q + 1 + i] = value));
    return row;
  });
}

eachDevice(
  "gptaq_correction",
  (device) => {
    async function correction(H: number[][], D: number[][], actOrder: boolean, alpha: number) {
      const n = H.length;
      const factor = await gptqFactor(matrix(H, "float64", device), {
        dampPercent: 0.01,
        actOrder,
        precision: "float64",
      });
      const cross = matrix(D, "float64", device);
      const M = await run(gptaqCorrection("test", cross, factor, { scale: 1, alpha }));
      const N = nested((await factor.factor.contiguous().data()) as Float32Array, n).map((row, i) =>
        row.map((value, j) => (j > i ? value : Number(i === j))),
      );
      const mean = H.reduce((sum, row, i) => sum + row[i]!, 0) / n;
      const Hd = H.map((row, i) => row.map((h, j) => h + (i === j ? 0.01 * mean : 0)));
      return { M: nested(await M.data(), n), N, Hd, order: factor.order };
    }

    test("the P of the file: M = alpha P (I + N)", async () => {
      for (const alpha of [1, 0.25]) {
        const { M, N } = await correction(vectors.H, vectors.dXXT, false, alpha);
        compare(M, product(vectors.P, N), alpha);
      }
    });

    test.each([
      [1, false],
      [37, false],
      [70, true],
      [130, true],
    ])(
      "P from explicit inverses of trailing blocks, %i columns, act-order %p",
      async (n, actOrder) => {
        const { H } = ar1Layer(1, n, 0.6, n);
        const draw = normal(n);
        const D = H.map((row) => row.map((h) => 0.1 * h + 0.05 * draw()));
        const { M, N, Hd, order } = await correction(H, D, actOrder, 1);
        compare(M, product(published(Hd, D, order), N), 1);
      },
    );

    test("equal inputs: nothing is corrected", async () => {
      const { H } = ar1Layer(1, 9, 0.6, 1);
      const { M } = await correction(
        H,
        H.map((row) => row.map(() => 0)),
        true,
        1,
      );
      expect(M.flat().every((value) => value === 0)).toBe(true);
    });
  },
  ["gptaq_correction", "gptq_factor"],
);

function product(A: number[][], B: number[][]): number[][] {
  return A.map((row) => B[0]!.map((_, j) => row.reduce((sum, a, k) => sum + a * B[k]![j]!, 0)));
}

/** float32 solves of n steps, on damped matrices of a small condition. */
function compare(M: number[][], wanted: number[][], alpha: number): void {
  M.forEach((row, i) => {
    const largest = Math.max(...wanted[i]!.map(Math.abs));
    row.forEach((value, j) => {
      const tolerance = 40 * M.length * 2 ** -23 * alpha * largest;
      expect(Math.abs(value - alpha * (j > i ? wanted[i]![j]! : 0))).toBeLessThanOrEqual(tolerance);
    });
  });
}
