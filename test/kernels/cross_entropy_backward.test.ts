import { crossEntropyBackward, crossEntropyRows } from "../../lib/ops/cross-entropy.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

eachDevice(
  "cross_entropy_backward",
  (device) => {
    test.each(["float32", "float64"] as const)(
      "%s: weights times softmax minus one-hot",
      (dtype) => {
        const [rows, n] = [45, 403];
        using x = toTensor(
          randomPlain([rows, n], 1, (u) => 5 * u),
          dtype,
          device,
        );
        const classes = Int32Array.from({ length: rows }, (_, r) =>
          r % 5 === 4 ? -1 : (r * 31) % n,
        );
        using target = Tensor.from(classes, [rows], { device });
        using weight = toTensor(randomPlain([rows], 2), dtype, device);
        const targets = { target, ignoreIndex: -1 };
        const { logSum } = crossEntropyRows("test", x, targets);
        using dx = crossEntropyBackward("test", x, logSum, weight, targets);
        const [values, weights, got] = [valuesOf(x), valuesOf(weight), valuesOf(dx)];
        for (let r = 0; r < rows; ++r) {
          const row = values.subarray(r * n, (r + 1) * n);
          const sum = row.reduce((s, v) => s + Math.exp(v), 0);
          expectWithin(
            got.subarray(r * n, (r + 1) * n),
            (c) =>
              classes[r] === -1
                ? 0
                : weights[r]! * (Math.exp(row[c]!) / sum - (c === classes[r] ? 1 : 0)),
            () => (dtype === "float32" ? 2 ** -20 : 2 ** -48),
          );
        }
      },
    );

    test("a real class that is ignored has no derivative", () => {
      using x = Tensor.from([1, 2, 3, 4], [2, 2], { device });
      using target = Tensor.from(new Int32Array([0, 1]), [2], { device });
      using weight = Tensor.from([1, 1], [2], { device });
      const { logSum } = crossEntropyRows("test", x, { target, ignoreIndex: 1 });
      using dx = crossEntropyBackward("test", x, logSum, weight, { target, ignoreIndex: 1 });
      expect([...dx.dataSync()].slice(2)).toEqual([0, 0]);
      expect(valuesOf(dx)[0]).not.toBe(0);
    });
  },
  ["cross_entropy", "cross_entropy_backward"],
);
