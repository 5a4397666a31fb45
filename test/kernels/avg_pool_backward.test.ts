import { averagePool } from "../../lib/ops/pool.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, sizeOf, toTensor, valuesOf } from "../helpers/plain.js";
import { outShape, poolCases, windowsOf } from "../helpers/pool-oracle.js";

eachDevice("avg_pool_backward", (device) => {
  test.each(
    poolCases.flatMap((row) =>
      (["float32", "float64"] as const).flatMap((dtype) =>
        [true, false].map((whole) => ({ row, dtype, whole })),
      ),
    ),
  )("$row.x, $dtype, whole $whole", ({ row, dtype, whole }) => {
    using g = toTensor(randomPlain(outShape(row), 1), dtype, device);
    const values = valuesOf(g);
    const expected = new Float64Array(sizeOf(row.x));
    windowsOf(row).forEach((window, output) => {
      const [a, b] = row.geometry.kernel;
      for (const i of window) expected[i]! += values[output]! / (whole ? a * b : window.length);
    });
    using dx = averagePool("test", g, row.x, row.geometry, { whole, transposed: true });
    // an element lies in at most nine windows
    expectWithin(
      valuesOf(dx),
      (i) => expected[i]!,
      () => 9 * (dtype === "float32" ? 2 ** -23 : 2 ** -52),
    );
  });
});
