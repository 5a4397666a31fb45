import { argmax } from "../../lib/ops/argmax.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

eachDevice("argmax", (device) => {
  test.each([
    [0, 3],
    [1, 1],
    [70, 10],
    [3, 20_000],
  ])("%i x %i", (rows, n) => {
    for (const dtype of ["float32", "float64"] as const) {
      using x = toTensor(
        randomPlain([rows, n], 1, (u) => Math.round(50 * u)),
        dtype,
        device,
      );
      const values = valuesOf(x);
      const expected = Array.from({ length: rows }, (_, r) => {
        const row = values.subarray(r * n, (r + 1) * n);
        return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
      });
      using index = argmax(x);
      expect([...index.dataSync()]).toEqual(expected);
    }
  });

  test("NaN, infinities, a view, a vector, nothing to choose from", () => {
    using x = Tensor.from([1, NaN, NaN, -Infinity, -Infinity, -Infinity], [2, 3], { device });
    expect([...argmax(x).dataSync()]).toEqual([1, 0]);
    using turned = Tensor.from([1, 5, 2, 4], [2, 2], { device }).transpose();
    expect([...argmax(turned).dataSync()]).toEqual([1, 0]);
    expect(argmax(Tensor.from([3, 7], [2], { device })).shape).toEqual([]);
    expect(() => argmax(Tensor.zeros([2, 0], { device }))).toThrow(
      "argmax: expected shape [..., n] with n > 0 for x",
    );
  });
});
