import { copyInto, pad } from "../../lib/ops/copy.js";
import { Tensor, dtypes, newArray } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";

eachDevice("copy", (device) => {
  test.each(dtypes.map((dtype) => [dtype]))("%s into a strided view", (dtype) => {
    const rows = 150;
    const columns = 130;
    const source = newArray(dtype, rows * columns);
    for (let i = 0; i < source.length; ++i)
      source[i] = dtype === "int64" ? BigInt(i % 100) : dtype === "bool" ? i % 2 : i % 100;
    using x = Tensor.from(source, [rows, columns], { dtype, device });
    using target = Tensor.zeros([columns, rows + 3], { dtype, device });
    using inside = target.slice(1, 2, rows + 2);
    using turned = x.transpose();
    copyInto("test", turned, inside);
    const got = target.dataSync();
    for (let i = 0; i < columns; ++i)
      for (let j = 0; j < rows + 3; ++j) {
        const expected = j < 2 || j >= rows + 2 ? undefined : source[(j - 2) * columns + i];
        expect(Number(got[i * (rows + 3) + j])).toBe(Number(expected ?? 0));
      }
  });

  test("pad, on both sides and by nothing", () => {
    using x = Tensor.from([1, 2, 3, 4], [2, 2], { device });
    using y = pad("pad", x, 1, 1, 2);
    expect([...y.dataSync()]).toEqual([0, 1, 2, 0, 0, 0, 3, 4, 0, 0]);
    using same = pad("pad", x, 0, 0, 0);
    expect([...same.dataSync()]).toEqual([1, 2, 3, 4]);
    expect(() => pad("pad", x, 0, -1, 0)).toThrow("pad: expected whole numbers >= 0");
  });

  test("another shape or dtype", () => {
    using x = Tensor.from([1, 2, 3, 4], [2, 2], { device });
    using flat = Tensor.zeros([4], { device });
    expect(() => {
      copyInto("f", x, flat);
    }).toThrow("f: expected shape [4] for x but received [2, 2]");
    using wide = Tensor.zeros([2, 2], { dtype: "float64", device });
    expect(() => {
      copyInto("f", x, wide);
    }).toThrow("f: expected float64 for the dtype of x");
  });
});
