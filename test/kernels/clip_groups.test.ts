import { run } from "../../lib/binding/index.js";
import { clipGroups } from "../../lib/ops/clip-groups.js";
import type { GridOptions } from "../../lib/ops/quantization-grid.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix, oracleGrid, roundEven } from "../helpers/gptq-oracle.js";
import { nested } from "../helpers/prune-oracle.js";

/** The error of every range, by the formula. */
function errorsOf(w: number[], H: number[][], grid: GridOptions): number[] {
  const widest = Math.max(...w.map(Math.abs));
  const maxq = 2 ** grid.bits - 1;
  return Array.from({ length: 10 }, (_, i) => {
    const bound = Math.fround(widest * Math.fround(1 - i / 20));
    const clipped = w.map((x) => Math.max(-bound, Math.min(bound, x)));
    const { scale, zero } = oracleGrid(clipped, grid);
    // A range clipped on both sides has its ends half way between two codes: they fall as the float32 quotient does.
    const d = w.map((x, j) => {
      const code = Math.max(0, Math.min(maxq, roundEven(Math.fround(clipped[j]! / scale)) + zero));
      return x - scale * (code - zero);
    });
    return d.reduce((sum, a, p) => sum + d.reduce((s, b, q) => s + a * H[p]![q]! * b, 0), 0);
  });
}

eachDevice("clip_groups", (device) => {
  test.each([
    { out: 1, columns: 1, groupSize: -1, bits: 4 },
    { out: 9, columns: 40, groupSize: 16, bits: 3 },
    { out: 5, columns: 33, groupSize: -1, bits: 2 },
  ] as const)("$out x $columns in groups of $groupSize: the best of ten ranges", async (one) => {
    const { out, columns, groupSize, bits } = one;
    const { W, H } = ar1Layer(out, columns, 0.7, columns);
    W.forEach((row, r) => (row[r % columns]! *= 4)); // an outlier a row, so that clipping pays
    const grid: GridOptions = { bits, groupSize, sym: false, mse: false, scaleDtype: "float32" };
    const rows = W.map((row) => row.map(Math.fround));
    const [w, h] = [matrix(rows, "float32", device), matrix(H, "float64", device)];
    const clipped = nested(await (await run(clipGroups("test", w, h, grid))).data(), columns);
    const size = groupSize === -1 ? columns : groupSize;
    let narrowed = 0;
    rows.forEach((row, r) => {
      for (let from = 0; from < columns; from += size) {
        const group = row.slice(from, from + size);
        const block = H.slice(from, from + size).map((x) => x.slice(from, from + size));
        const errors = errorsOf(group, block, grid);
        const widest = Math.max(...group.map(Math.abs));
        const limit = Math.max(...clipped[r]!.slice(from, from + size).map(Math.abs));
        const step = Math.round((1 - limit / widest) * 20);
        narrowed += Number(step > 0);
        // Of ranges that are equally good to the last bits any may win.
        expect(errors[step]!).toBeLessThanOrEqual(Math.min(...errors) * (1 + 1e-5));
        group.forEach((x, j) => {
          expect(clipped[r]![from + j]).toBe(Math.max(-limit, Math.min(limit, x)));
        });
      }
    });
    if (bits === 2) expect(narrowed).toBeGreaterThan(0);
  });
});
