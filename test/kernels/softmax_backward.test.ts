import { softmaxBackward } from "../../lib/ops/softmax.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("softmax_backward", (device) => {
  const sizes: [number, number][] = [
    [0, 3],
    [1, 1],
    [3, 17],
    [2, 1001],
    [300, 129],
  ];
  test.each(
    sizes.flatMap(([rows, n]) =>
      (["float32", "float64"] as const).flatMap((dtype) =>
        [true, false].map((log) => ({ rows, n, dtype, log })),
      ),
    ),
  )("$rows x $n, $dtype, log $log", ({ rows, n, dtype, log }) => {
    // Any y and g: the formula is compared, not its meaning.
    using y = toTensor(randomPlain([rows, n], 1), dtype, device);
    using g = toTensor(randomPlain([rows, n], 2), dtype, device);
    using dx = softmaxBackward("test", y, g, log ? 1 : 0.5, log);
    const [a, b, got] = [valuesOf(y), valuesOf(g), valuesOf(dx)];
    for (let r = 0; r < rows; ++r) {
      let sum = 0;
      let size = 0;
      for (let i = r * n; i < (r + 1) * n; ++i) {
        sum += log ? b[i]! : a[i]! * b[i]!;
        size += Math.abs(log ? b[i]! : a[i]! * b[i]!);
      }
      expectWithin(
        got.subarray(r * n, (r + 1) * n),
        (i) =>
          log
            ? b[r * n + i]! - Math.exp(a[r * n + i]!) * sum
            : 0.5 * a[r * n + i]! * (b[r * n + i]! - sum),
        (i) =>
          8 * eps[dtype] * Math.exp(Math.abs(a[r * n + i]!)) * (1 + Math.abs(sum)) +
          n * 2 ** -52 * size,
      );
    }
  });
});
