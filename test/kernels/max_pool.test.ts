import { maxPoolIndices } from "../../lib/ops/pool.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";
import { outShape, poolCases, windowsOf } from "../helpers/pool-oracle.js";

eachDevice("max_pool", (device) => {
  test.each(
    poolCases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ row, dtype }))),
  )("$row.x, $dtype: the first of the largest, also among equal ones", ({ row, dtype }) => {
    using x = toTensor(
      randomPlain(row.x, 1, (u) => Math.round(2 * u)),
      dtype,
      device,
    );
    const values = valuesOf(x);
    const expected = windowsOf(row).map((window) => {
      const best = window.reduce((most, i) => (values[i]! > values[most]! ? i : most));
      return best % (row.x[1] * row.x[2]);
    });
    using index = maxPoolIndices("test", x, outShape(row), row.geometry);
    expect([...index.dataSync()]).toEqual(expected);
  });

  test("NaN is the largest; -Infinity alone", () => {
    const geometry = { kernel: [2, 2], stride: [2, 2], padding: [0, 0] } as const;
    using x = Tensor.from([1, NaN, -Infinity, -Infinity, NaN, 9, -Infinity, -Infinity], [1, 2, 4], {
      device,
    });
    using index = maxPoolIndices("test", x, [1, 1, 2], geometry);
    expect([...index.dataSync()]).toEqual([1, 2]);
  });
});
