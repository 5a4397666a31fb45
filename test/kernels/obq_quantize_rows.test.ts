import { run } from "../../lib/binding/index.js";
import { gptqFactor } from "../../lib/ops/gptq-factor.js";
import { gptqQuantizeColumns } from "../../lib/ops/gptq-quantize-columns.js";
import { type ObqOptions, obqQuantizeRows } from "../../lib/ops/obs-rows.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix, roundEven } from "../helpers/gptq-oracle.js";
import { damped, greedy } from "../helpers/obs-oracle.js";
import { nested } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface Order {
  steps: { index: number; code: number }[];
  Q: number[];
  total_error: number;
}
const vectors = readVectors<{
  H: number[][];
  w: number[];
  grid: { scale: number; zero: number; maxq: number };
  obq_greedy: Order;
  fixed_order_0123: Order;
  exhaustive_optimum: { error: number };
}>("obs_obq.json");

const perRow = { groupSize: -1, sym: false, mse: false, scaleDtype: "float32" } as const;

eachDevice(
  "obq_quantize_rows",
  (device) => {
    const quantize = (W: number[][], H: number[][], damping: number, options: ObqOptions) =>
      run(
        obqQuantizeRows(
          "test",
          { gram: matrix(H, "float64", device), weight: matrix(W, "float32", device), damping },
          options,
        ),
      );

    test("both orders of the file on its grid", async () => {
      const { scale, zero } = vectors.grid;
      const grids = { scales: Float32Array.of(scale), zeros: Uint8Array.of(zero) };
      for (const [greedyOrder, one] of [
        [true, vectors.obq_greedy],
        [false, vectors.fixed_order_0123],
      ] as const) {
        const options = { ...perRow, bits: 2, greedy: greedyOrder, grids } as const;
        const q = await quantize([vectors.w], vectors.H, 0, options);
        for (const { index, code } of one.steps) expect(q.codes[index]).toBe(code);
        expect(Math.abs(q.loss - one.total_error)).toBeLessThan(1e-6 * one.total_error);
        expect(q.loss).toBeGreaterThanOrEqual(vectors.exhaustive_optimum.error * (1 - 1e-6));
      }
    });

    test.each([
      [1, 1, -1],
      [3, 10, -1],
      [2, 13, 5],
    ])(
      "%i x %i, groups of %i: every candidate of every step tried out",
      async (out, columns, groupSize) => {
        const { W, H } = ar1Layer(out, columns, 0.7, out + columns);
        const Hd = damped(H, 0.02);
        const options = { ...perRow, groupSize, bits: 3, greedy: true } as const;
        const q = await quantize(W, H, Hd[0]![0]! - H[0]![0]!, options);
        let loss = 0;
        W.forEach((row, r) => {
          const grid = (j: number) => {
            const at = q.groupIndex[j]! * out + r;
            return { scale: q.scales[at]!, zero: q.zeros[at]! };
          };
          const code = (w: number, j: number) =>
            Math.max(0, Math.min(7, roundEven(w / grid(j).scale) + grid(j).zero));
          const value = (w: number, j: number) => grid(j).scale * (code(w, j) - grid(j).zero);
          const isOut = (w: number, j: number) =>
            Math.abs(w - value(w, j)) > 0.5000001 * grid(j).scale;
          const steps = greedy(Hd, row, columns, (now, j, fixed) => {
            const someOut = now.some((w, k) => !fixed.has(k) && isOut(w, k));
            return someOut && !isOut(now[j]!, j) ? undefined : value(now[j]!, j);
          });
          loss += steps.reduce((sum, step) => sum + step.cost, 0);
          const last = steps.at(-1)!.weight;
          last.forEach((w, j) => {
            expect(q.codes[r * columns + j]).toBe(roundEven(w / grid(j).scale) + grid(j).zero);
          });
        });
        expect(Math.abs(q.loss - loss)).toBeLessThanOrEqual(1e-6 * loss);
      },
    );

    test("columns in order are GPTQ", async () => {
      const { W, H } = ar1Layer(9, 24, 0.8, 3);
      const grid = { ...perRow, groupSize: 8, bits: 3 } as const;
      const factor = await gptqFactor(matrix(H, "float64", device), {
        dampPercent: 0.01,
        actOrder: false,
        precision: "float64",
      });
      const wanted = await gptqQuantizeColumns(matrix(W, "float32", device), factor, {
        ...grid,
        staticGroups: true,
        blockSize: 128,
      });
      const q = await quantize(W, H, factor.damping, { ...grid, greedy: false });
      expect(nested(q.codes, 24)).toEqual(nested(wanted.codes, 24));
      expect(q.scales).toEqual(wanted.scales);
      expect(Math.abs(q.loss - wanted.loss)).toBeLessThan(1e-5 * wanted.loss);
    });
  },
  ["obq_quantize_rows"],
);
