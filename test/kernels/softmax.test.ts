import { softmax } from "../../lib/ops/softmax.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("softmax", (device) => {
  const sizes: [number, number][] = [
    [0, 3],
    [1, 1],
    [3, 0],
    [7, 15],
    [5, 64],
    [2, 1001],
    [300, 129],
  ];
  test.each(
    sizes.flatMap(([rows, n]) =>
      (["float32", "float64"] as const).map((dtype) => ({ rows, n, dtype })),
    ),
  )("$rows x $n in $dtype: the values, their logarithms, sums of one", ({ rows, n, dtype }) => {
    using x = toTensor(
      randomPlain([rows, n], 1, (u) => 10 * u),
      dtype,
      device,
    );
    const exact = valuesOf(x);
    using y = softmax("test", x, { scale: 0.7, log: false, causal: false });
    using z = softmax("test", x, { scale: 0.7, log: true, causal: false });
    const [got, logs] = [valuesOf(y), valuesOf(z)];
    for (let r = 0; r < rows; ++r) {
      const row = exact.subarray(r * n, (r + 1) * n).map((v) => 0.7 * v);
      const largest = row.reduce((m, v) => Math.max(m, v), -Infinity);
      const sum = row.reduce((s, v) => s + Math.exp(v - largest), 0);
      const log = (i: number) => row[i]! - largest - Math.log(sum);
      const one = got.subarray(r * n, (r + 1) * n).reduce((t, v) => t + v, 0);
      // The argument is rounded where it has the size of the row, here and in the reference.
      expectWithin(
        got.subarray(r * n, (r + 1) * n),
        (i) => Math.exp(log(i)),
        (i) => eps[dtype] * (8 + 4 * Math.abs(row[i]! - largest)) * Math.exp(log(i)) + 1e-38,
      );
      expectWithin(
        logs.subarray(r * n, (r + 1) * n),
        log,
        (i) => 8 * eps[dtype] * (1 + Math.abs(log(i))),
      );
      if (n > 0) expect(Math.abs(one - 1)).toBeLessThanOrEqual(n * eps[dtype]);
    }
  });

  test("large numbers, infinities, NaN", () => {
    const rows = [
      [1e4, 1e4 - 1, -1e4],
      [-Infinity, 0, 0],
      [-Infinity, -Infinity, -Infinity],
      [Infinity, 0, 0],
      [NaN, 0, 0],
    ];
    using x = Tensor.from(rows.flat(), [5, 3], { device });
    using y = softmax("test", x, { scale: 1, log: false, causal: false });
    const got = valuesOf(y);
    const e = Math.exp(-1);
    [1 / (1 + e), e / (1 + e), 0, 0, 0.5, 0.5].forEach((v, i) => {
      expect(got[i]).toBeCloseTo(v, 6);
    });
    for (let i = 6; i < 9; ++i) expect(got[i]).toBeNaN();
    expect(got[9]).toBeNaN();
    for (let i = 12; i < 15; ++i) expect(got[i]).toBeNaN();
  });

  test.each([
    [4, 4],
    [3, 5],
    [5, 3],
    [1, 200],
  ])("causal: %i queries, %i keys", (queries, keys) => {
    using x = toTensor(randomPlain([2, queries, keys], 3), "float64", device);
    using y = softmax("test", x, { scale: 1, log: false, causal: true });
    const [from, got] = [valuesOf(x), valuesOf(y)];
    for (let row = 0; row < 2 * queries; ++row) {
      const seen = Math.max(0, (row % queries) + 1 + keys - queries);
      const terms = Array.from({ length: keys }, (_, j) =>
        j < seen ? Math.exp(from[row * keys + j]!) : 0,
      );
      const sum = terms.reduce((a, b) => a + b, 0);
      terms.forEach((t, j) => {
        if (j >= seen) expect(got[row * keys + j]).toBe(0);
        else expect(got[row * keys + j]).toBeCloseTo(t / sum, 14);
      });
    }
  });

  test("a transposed view; wrong arguments", () => {
    using x = Tensor.from([0, 1, 2, 3], [2, 2], { device });
    using turned = x.transpose();
    using y = softmax("test", turned, { scale: 1, log: false, causal: false });
    valuesOf(y).forEach((v, i) => {
      expect(v).toBeCloseTo([1, Math.E ** 2][i % 2]! / (1 + Math.E ** 2), 6);
    });
    const kind = { scale: 1, log: false, causal: false };
    expect(() => softmax("softmax", Tensor.zeros([], { device }), kind)).toThrow(
      "softmax: expected 1 or more dimensions",
    );
    expect(() => softmax("softmax", x, { ...kind, scale: 0 })).toThrow(
      "softmax: expected a number above 0 for scale",
    );
  });
});
