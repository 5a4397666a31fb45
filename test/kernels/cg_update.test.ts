import { cgUpdate } from "../../lib/ops/vector-update.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { exactSum, unit, vector } from "../helpers/flat-data.js";

eachDevice("cg_update", (device) => {
  describe.each(["float32", "float64"] as const)("%s", (dtype) => {
    test.each([0, 1, 21, 40_001])("%i elements", async (size) => {
      const before = ([1, 2, 3, 4] as const).map((seed) => vector(dtype, size, seed));
      const [p, ap, x, r] = before.map((v) => Tensor.from(v, undefined, { device })) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const alpha = 0.7;
      const rr = cgUpdate(alpha, { p, ap, x, r });
      const [gotX, gotR] = [await x.data(), await r.data()] as [Float64Array, Float64Array];
      let worst = 0;
      for (let i = 0; i < size; ++i) {
        const [pi, api, xi, ri] = before.map((v) => v[i]!) as [number, number, number, number];
        const scale = Math.abs(alpha * pi) + Math.abs(xi) + Math.abs(alpha * api) + Math.abs(ri);
        worst = Math.max(worst, Math.abs(gotX[i]! - (xi + alpha * pi)) / scale);
        worst = Math.max(worst, Math.abs(gotR[i]! - (ri - alpha * api)) / scale);
      }
      expect(worst).toBeLessThanOrEqual(2 * unit(dtype));
      const exact = exactSum(size, (i) => gotR[i]! ** 2);
      expect(Math.abs((await rr.data())[0]! - exact)).toBeLessThanOrEqual(
        (size + 1) * 2 ** -53 * exact,
      );
      expect(await p.data()).toEqual(before[0]);
      for (const tensor of [p, ap, x, r, rr]) tensor.dispose();
    });
  });

  test("what it refuses", () => {
    const v = () => Tensor.zeros([6], { device });
    const good = () => ({ p: v(), ap: v(), x: v(), r: v() });
    for (const name of ["p", "ap", "x", "r"] as const) {
      const bad = Tensor.zeros([5], { device });
      expect(() => cgUpdate(1, { ...good(), [name]: bad })).toThrow(/elements of p for/);
      expect(() => cgUpdate(1, { ...good(), [name]: v().toDType("int32") })).toThrow(/dtype/);
    }
    expect(() => cgUpdate(NaN, good())).toThrow(/for alpha/);
  });
});
