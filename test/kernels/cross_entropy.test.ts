import { crossEntropyRows } from "../../lib/ops/cross-entropy.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("cross_entropy", (device) => {
  const sizes: [number, number][] = [
    [0, 3],
    [1, 1],
    [65, 10],
    [7, 5003],
  ];
  test.each(
    sizes.flatMap(([rows, n]) =>
      (["float32", "float64"] as const).map((dtype) => ({ rows, n, dtype })),
    ),
  )("$rows rows of $n classes, $dtype", ({ rows, n, dtype }) => {
    using x = toTensor(
      randomPlain([rows, n], 1, (u) => 20 * u),
      dtype,
      device,
    );
    const classes = Int32Array.from({ length: rows }, (_, r) => (r * 7) % n);
    using target = Tensor.from(classes, [rows], { device });
    const { loss, logSum } = crossEntropyRows("test", x, { target, ignoreIndex: undefined });
    const [values, losses, sums] = [valuesOf(x), valuesOf(loss), valuesOf(logSum)];
    for (let r = 0; r < rows; ++r) {
      const row = values.subarray(r * n, (r + 1) * n);
      const sum = Math.log(row.reduce((s, v) => s + Math.exp(v), 0));
      expect(Math.abs(sums[r]! - sum)).toBeLessThanOrEqual(8 * eps[dtype] * (1 + Math.abs(sum)));
      const expected = sum - row[classes[r]!]!;
      expect(Math.abs(losses[r]! - expected)).toBeLessThanOrEqual(40 * eps[dtype] * (1 + expected));
    }
    loss.dispose();
    logSum.dispose();
  });

  test("a sure and right answer has a small loss with all its digits", () => {
    using x = Tensor.from([0, -20], [1, 2], { device });
    using target = Tensor.from(new Int32Array([0]), [1], { device });
    const { loss } = crossEntropyRows("test", x, { target, ignoreIndex: undefined });
    expect(valuesOf(loss)[0]! / Math.log1p(Math.exp(-20))).toBeCloseTo(1, 0);
  });

  test("ignored rows; a target that is no class; NaN", () => {
    using x = Tensor.from([1, 2, NaN, 4], [2, 2], { device });
    using target = Tensor.from(new Int32Array([1, -100]), [2], { device });
    const { loss } = crossEntropyRows("test", x, { target, ignoreIndex: -100 });
    expect(valuesOf(loss)[1]).toBe(0);
    const bad = crossEntropyRows("crossEntropy", x, { target, ignoreIndex: undefined });
    expect(() => bad.loss.dataSync()).toThrow(/target -100 of row 1 is not a class from 0 to 1/);
    using other = Tensor.from(new Int32Array([0, 1]), [2], { device });
    const nan = crossEntropyRows("test", x, { target: other, ignoreIndex: undefined });
    expect(valuesOf(nan.loss)[1]).toBeNaN();
  });

  test("shapes and dtypes", () => {
    const x = Tensor.zeros([2, 3], { device });
    const run = (logits: Tensor, target: unknown) => () =>
      crossEntropyRows("crossEntropy", logits, {
        target: target as Tensor,
        ignoreIndex: undefined,
      });
    expect(run(x, Tensor.from(new Int32Array(3), [3], { device }))).toThrow(
      "crossEntropy: expected shape [2] for targets, as logits [2, 3] have rows, but received [3]",
    );
    expect(run(x, Tensor.zeros([2], { device }))).toThrow(
      "crossEntropy: expected an int32 tensor for targets",
    );
    expect(
      run(Tensor.zeros([2, 0], { device }), Tensor.from(new Int32Array(2), [2], { device })),
    ).toThrow("crossEntropy: expected shape [..., classes] for logits");
  });
});
