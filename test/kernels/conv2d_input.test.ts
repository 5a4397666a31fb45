import { conv2dInput } from "../../lib/ops/conv2d.js";
import { accumulate, convCases, outShape } from "../helpers/conv-oracle.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("conv2d_input", (device) => {
  test.each(
    convCases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ row, dtype }))),
  )("$row.x with $row.w in $dtype", ({ row, dtype }) => {
    using g = toTensor(randomPlain(outShape(row), 1), dtype, device);
    using w = toTensor(randomPlain(row.w, 2), dtype, device);
    const [a, b] = [valuesOf(g), valuesOf(w)];
    const { sums, sizes, longest } = accumulate(row.x, row, (x, w, y) => [x, a[y]! * b[w]!]);
    using result = conv2dInput("test", g, w, row.x, row.geometry);
    expectWithin(
      valuesOf(result),
      (i) => sums.values[i]!,
      (i) => longest * eps[dtype] * sizes[i]!,
    );
  });
});
