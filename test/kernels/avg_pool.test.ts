import { averagePool, poolShape } from "../../lib/ops/pool.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";
import { outShape, poolCases, windowsOf } from "../helpers/pool-oracle.js";

eachDevice("avg_pool", (device) => {
  test.each(
    poolCases.flatMap((row) =>
      (["float32", "float64"] as const).flatMap((dtype) =>
        [true, false].map((whole) => ({ row, dtype, whole })),
      ),
    ),
  )("$row.x, $dtype, whole $whole", ({ row, dtype, whole }) => {
    using x = toTensor(randomPlain(row.x, 1), dtype, device);
    const values = valuesOf(x);
    const expected = windowsOf(row).map((window) => {
      const [a, b] = row.geometry.kernel;
      return window.reduce((s, i) => s + values[i]!, 0) / (whole ? a * b : window.length);
    });
    using y = averagePool("test", x, outShape(row), row.geometry, { whole, transposed: false });
    expect(y.size).toBe(expected.length);
    expectWithin(
      valuesOf(y),
      (i) => expected[i]!,
      () => (dtype === "float32" ? 2 ** -23 : 2 ** -50),
    );
  });

  test("windows that do not fit", () => {
    const shape = (kernel: number, padding: number) => () =>
      poolShape("avgPool2d", Tensor.zeros([2, 3, 3], { device }), {
        kernel: [kernel, kernel],
        stride: [1, 1],
        padding: [padding, padding],
      });
    expect(shape(4, 0)).toThrow("avgPool2d: expected x at least as large as the window");
    expect(shape(2, 2)).toThrow("a padding of at most half of it");
    expect(shape(4, 1)()).toEqual([2, 2, 2]);
  });
});
