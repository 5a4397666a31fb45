import { quantizationError } from "../../lib/ops/quantization-error.js";
import { roundToNearestCodes } from "../../lib/ops/round-to-nearest.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix } from "../helpers/gptq-oracle.js";

eachDevice("quantization_error", (device) => {
  test.each([
    [1, 1],
    [3, 37],
    [70, 130],
  ])(
    "[%i, %i]: error and reference equal plain sums, for all rows and for some",
    async (out, columns) => {
      const { W, H } = ar1Layer(out, columns, 0.8, out + columns);
      const weight = matrix(W, "float32", device);
      const q = await roundToNearestCodes(weight, {
        bits: 3,
        groupSize: 16,
        sym: false,
        mse: false,
        scaleDtype: "float16",
      });
      const form = (rows: number[][]) =>
        rows.reduce(
          (sum, d) =>
            sum + d.reduce((s, x, i) => s + x * d.reduce((u, y, j) => u + H[i]![j]! * y, 0), 0),
          0,
        );
      const D = W.map((row, r) =>
        row.map(
          (w, i) =>
            w -
            q.scales[q.groupIndex[i]! * out + r]! *
              (q.codes[r * columns + i]! - q.zeros[q.groupIndex[i]! * out + r]!),
        ),
      );
      for (const rows of [Array.from({ length: out }, (_, r) => r), [out - 1], []]) {
        for (const dtype of ["float64", "float32"] as const) {
          const { error, reference } = await quantizationError(
            matrix(H, dtype, device),
            weight,
            q,
            Int32Array.from(rows),
          );
          const wanted = form(rows.map((r) => D[r]!));
          expect(Math.abs(error - wanted)).toBeLessThanOrEqual(1e-4 * wanted);
          expect(Math.abs(reference - form(rows.map((r) => W[r]!)))).toBeLessThanOrEqual(
            1e-5 * reference,
          );
        }
      }
    },
  );

  test("bad rows and shapes are refused", async () => {
    const { W, H } = ar1Layer(2, 4, 0.5, 1);
    const weight = matrix(W, "float32", device);
    const q = await roundToNearestCodes(weight, {
      bits: 4,
      groupSize: -1,
      sym: true,
      mse: false,
      scaleDtype: "float32",
    });
    await expect(
      quantizationError(matrix(H, "float64", device), weight, q, Int32Array.of(2)),
    ).rejects.toMatchObject({ code: "ARGUMENT" });
    await expect(
      quantizationError(Tensor.zeros([3, 3], { device }), weight, q, Int32Array.of(0)),
    ).rejects.toMatchObject({ code: "SHAPE" });
  });
});
