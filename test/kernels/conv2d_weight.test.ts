import { setThreads } from "../../lib/binding/index.js";
import { conv2dWeight } from "../../lib/ops/conv2d.js";
import { accumulate, convCases, outShape } from "../helpers/conv-oracle.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("conv2d_weight", (device) => {
  test.each(
    convCases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ row, dtype }))),
  )("$row.x with $row.w in $dtype", ({ row, dtype }) => {
    using x = toTensor(randomPlain(row.x, 1), dtype, device);
    using g = toTensor(randomPlain(outShape(row), 2), dtype, device);
    const [a, b] = [valuesOf(x), valuesOf(g)];
    const { sums, sizes, longest } = accumulate(row.w, row, (x, w, y) => [w, a[x]! * b[y]!]);
    using result = conv2dWeight("test", x, g, row.w, row.geometry);
    expectWithin(
      valuesOf(result),
      (i) => sums.values[i]!,
      (i) => longest * eps[dtype] * sizes[i]!,
    );
  });

  test("the same bits for any number of threads", () => {
    const row = convCases[6]!;
    using x = toTensor(randomPlain(row.x, 1), "float32", device);
    using g = toTensor(randomPlain(outShape(row), 2), "float32", device);
    const runs = [1, 2, 3].map((threads) => {
      setThreads(threads);
      using dw = conv2dWeight("test", x, g, row.w, row.geometry);
      return [...valuesOf(dw)];
    });
    setThreads(2);
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });
});
