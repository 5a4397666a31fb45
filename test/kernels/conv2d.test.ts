import { conv2d } from "../../lib/ops/conv2d.js";
import { accumulate, convCases, outShape } from "../helpers/conv-oracle.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("conv2d", (device) => {
  test.each(
    convCases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ row, dtype }))),
  )("$row.x with $row.w in $dtype", ({ row, dtype }) => {
    using x = toTensor(randomPlain(row.x, 1), dtype, device);
    using w = toTensor(randomPlain(row.w, 2), dtype, device);
    const [a, b] = [valuesOf(x), valuesOf(w)];
    const { sums, sizes, longest } = accumulate(outShape(row), row, (x, w, y) => [
      y,
      a[x]! * b[w]!,
    ]);
    using result = conv2d("test", x, w, outShape(row), row.geometry);
    expectWithin(
      valuesOf(result),
      (i) => sums.values[i]!,
      (i) => longest * eps[dtype] * sizes[i]!,
    );
  });

  test("NaN stays where it is seen; a view", () => {
    const row = convCases[2]!;
    const values = randomPlain(row.x, 1);
    values.values[0] = NaN;
    using x = toTensor(values, "float64", device);
    using w = toTensor(randomPlain(row.w, 2), "float64", device);
    const seen = accumulate(outShape(row), row, (i, _, y) => [y, values.values[i]!]).sums.values;
    using y = conv2d("test", x, w, outShape(row), row.geometry);
    expect([...valuesOf(y)].map(Number.isNaN)).toEqual([...seen].map(Number.isNaN));
    using turned = x.transpose(2, 3).contiguous();
    using same = turned.transpose(2, 3);
    using again = conv2d("test", same, w, outShape(row), row.geometry);
    expect([...valuesOf(again)]).toEqual([...valuesOf(y)]);
  });
});
