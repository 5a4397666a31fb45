import { run } from "../../lib/binding/index.js";
import { weightError } from "../../lib/ops/prune.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix, normal } from "../helpers/gptq-oracle.js";
import { quadraticError } from "../helpers/prune-oracle.js";

eachDevice("weight_error", (device) => {
  test.each([
    [1, 1],
    [3, 37],
    [70, 5],
    [2, 300],
  ])("%i x %i: the trace in float64", async (out, columns) => {
    const { W, H } = ar1Layer(out, columns, 0.8, out + columns);
    const other = ar1Layer(out, columns, 0.8, 99).W;
    const draw = normal(columns);
    const C = H.map((row) => row.map((h) => Math.fround(h + draw())));
    const rows = Int32Array.from({ length: out }, (_, i) => (i * 7) % out);
    for (const [dtype, eps] of [
      ["float64", 2 ** -52],
      ["float32", 2 ** -23],
    ] as const) {
      const found = await run(
        weightError(
          "test",
          matrix(H, dtype, device),
          matrix(W, "float32", device),
          matrix(other, "float32", device),
          rows,
          matrix(C, dtype, device),
        ),
      );
      const pick = (M: number[][]) => Array.from(rows, (row) => M[row]!);
      const zero = W.map((row) => row.map(() => 0));
      const wanted = [quadraticError(pick(W), pick(other), H), quadraticError(pick(W), zero, H)];
      [found.error, found.reference].forEach((value, i) => {
        expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(4 * columns * eps * wanted[i]!);
      });
      // w C d^T: its terms have either sign, so the tolerance is of their sizes.
      let [sum, size] = [0, 0];
      for (const row of rows) {
        for (let i = 0; i < columns; ++i) {
          for (let j = 0; j < columns; ++j) {
            const term = W[row]![i]! * C[i]![j]! * (W[row]![j]! - Math.fround(other[row]![j]!));
            sum += term;
            size += Math.abs(term);
          }
        }
      }
      expect(Math.abs(found.crossError - sum)).toBeLessThanOrEqual(4 * columns * eps * size);
    }
  });

  test("no rows, no columns, a row out of range", async () => {
    const { W, H } = ar1Layer(3, 4, 0.5, 1);
    const [w, h] = [matrix(W, "float32", device), matrix(H, "float64", device)];
    const none = { error: 0, reference: 0, crossError: 0 };
    expect(await run(weightError("test", h, w, w, new Int32Array(0)))).toEqual(none);
    expect((await run(weightError("test", h, w, w, Int32Array.of(0)))).error).toBe(0);
    await expect(run(weightError("test", h, w, w, Int32Array.of(3)))).rejects.toMatchObject({
      code: "ARGUMENT",
    });
  });
});
