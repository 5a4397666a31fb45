import { compare, type CompareOp } from "../../lib/ops/compare.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";

const functions: Record<CompareOp, (a: number, b: number) => boolean> = {
  equal: (a, b) => a === b,
  notEqual: (a, b) => a !== b,
  less: (a, b) => a < b,
  lessEqual: (a, b) => a <= b,
  greater: (a, b) => a > b,
  greaterEqual: (a, b) => a >= b,
};

eachDevice("compare", (device) => {
  test.each(Object.keys(functions) as CompareOp[])("%s", (op) => {
    const specials = [0, -0, 1, -1, 2, Infinity, -Infinity, NaN];
    using a = Tensor.from(specials, [specials.length, 1], { device });
    using b = Tensor.from(specials, [specials.length], { device });
    using y = compare("test", op, a, b);
    expect(y.dtype).toBe("bool");
    expect([...y.dataSync()]).toEqual(
      specials.flatMap((x) => specials.map((z) => (functions[op](x, z) ? 1 : 0))),
    );
  });

  test("more than a tile, a view, nothing", () => {
    const values = Float64Array.from({ length: 30_000 }, (_, i) => Math.sin(i));
    using x = Tensor.from(values, [100, 300], { device });
    using turned = x.transpose();
    using zero = Tensor.from(new Float64Array([0]), [], { device });
    using y = compare("test", "greater", turned, zero);
    const got = y.dataSync();
    for (let i = 0; i < 300; ++i)
      for (let j = 0; j < 100; ++j) expect(got[i * 100 + j]).toBe(values[j * 300 + i]! > 0 ? 1 : 0);
    using none = Tensor.from(new Float64Array(0), [0, 3], { device });
    using empty = compare("test", "less", none, zero);
    expect(empty.shape).toEqual([0, 3]);
  });
});
