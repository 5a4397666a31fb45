import { normalize } from "../../lib/ops/normalize.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("normalize", (device) => {
  const shapes = [
    [1, 0, 4],
    [1, 1, 1],
    [1, 130, 257],
    [5, 3, 17],
    [9, 2, 1],
    [2, 4, 9000],
  ];
  test.each(
    shapes.flatMap((shape) =>
      (["float32", "float64"] as const).flatMap((dtype) =>
        [true, false].map((centred) => ({ shape, dtype, centred })),
      ),
    ),
  )("$shape, $dtype, centred $centred", ({ shape, dtype, centred }) => {
    const [outer = 0, rows = 0, inner = 0] = shape;
    using x = toTensor(
      randomPlain(shape, 1, (u) => 3 * u + 2),
      dtype,
      device,
    );
    const { y, mean, inverseDeviation } = normalize("test", x, 1e-3, centred);
    const [from, got, means, inverses] = [x, y, mean, inverseDeviation].map(valuesOf);
    for (let r = 0; r < rows; ++r) {
      const at = Array.from(
        { length: outer * inner },
        (_, i) => (Math.floor(i / inner) * rows + r) * inner + (i % inner),
      );
      const centre = centred ? at.reduce((s, i) => s + from![i]!, 0) / at.length : 0;
      const square = at.reduce((s, i) => s + (from![i]! - centre) ** 2, 0) / at.length;
      const inverse = 1 / Math.sqrt(square + 1e-3);
      const bound = 4 * eps[dtype] + at.length * 2 ** -52;
      expect(Math.abs(means![r]! - centre)).toBeLessThanOrEqual(bound * 5);
      // the mean is stored rounded, and deviations are taken from that
      expect(Math.abs(inverses![r]! / inverse - 1)).toBeLessThanOrEqual(bound * 5);
      expectWithin(
        at.map((i) => got![i]!),
        (k) => (from![at[k]!]! - centre) * inverse,
        () => bound * 5 * (1 + inverse),
      );
    }
    for (const t of [y, mean, inverseDeviation]) t.dispose();
  });

  test("digits survive a large mean", () => {
    using x = Tensor.from([10000.25, 10000.5, 10000.75, 10001], [1, 1, 4], { device });
    const { y } = normalize("test", x, 0, true);
    valuesOf(y).forEach((v, i) => {
      expect(v).toBeCloseTo((i - 1.5) / Math.sqrt(1.25), 5);
    });
  });

  test("a constant row, NaN, a view, bad arguments", () => {
    using x = Tensor.from([2, 2, 2, 1, NaN, 1], [1, 2, 3], { device });
    const { y } = normalize("test", x, 1e-5, true);
    expect([...y.dataSync()]).toEqual([0, 0, 0, NaN, NaN, NaN]);
    using turned = x.transpose();
    const view = normalize("test", turned.slice(1, 0, 1), 1e-5, true);
    expect(view.y.shape).toEqual([1, 1, 2]);
    expect(() => normalize("layerNorm", x, -1, true)).toThrow(
      "layerNorm: expected a number >= 0 for eps",
    );
    expect(() => normalize("f", Tensor.zeros([2, 2], { device }), 0, true)).toThrow(
      "f: expected shape [outer, rows, inner]",
    );
  });
});
