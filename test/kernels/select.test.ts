import { select } from "../../lib/ops/select.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";

eachDevice("select", (device) => {
  test.each(["float32", "float64"] as const)("%s: NaN on the other side stays there", (dtype) => {
    const n = 33_000;
    const flags = Uint8Array.from({ length: n }, (_, i) => (i % 3 === 0 ? 1 : 0));
    using condition = Tensor.from(flags, [n], { dtype: "bool", device });
    using a = Tensor.from(
      Array.from(flags, (f, i) => (f ? i : NaN)),
      [n],
      { dtype, device },
    );
    using b = Tensor.from(
      Array.from(flags, (f, i) => (f ? NaN : -i)),
      [n],
      { dtype, device },
    );
    using y = select("test", condition, a, b);
    const got = y.dataSync();
    for (let i = 0; i < n; ++i) expect(got[i]).toBe(flags[i] ? i : -i);
  });

  test("all three broadcast; views", () => {
    using condition = Tensor.from(new Uint8Array([1, 0]), [2, 1], { dtype: "bool", device });
    using a = Tensor.from([1, 2, 3], [3], { device });
    using b = Tensor.from([10, 20, 30, 40, 50, 60], [3, 2], { device });
    using turned = b.transpose();
    using y = select("test", condition, a, turned);
    expect([...y.dataSync()]).toEqual([1, 2, 3, 20, 40, 60]);
  });

  test("a condition that is not bool", () => {
    using x = Tensor.from([1, 2], [2], { device });
    expect(() => select("where", x, x, x)).toThrow("where: expected a bool tensor for condition");
  });
});
