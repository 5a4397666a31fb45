import { findNonFinite } from "../../lib/ops/find-non-finite.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";

eachDevice("find_non_finite", (device) => {
  const large = 600_001; // more than two tiles
  test.each([
    ["empty", 0, []],
    ["one finite", 1, []],
    ["one NaN", 1, [0]],
    ["all finite", large, []],
    ["the last", large, [large - 1]],
    ["several, in different tiles", large, [500_000, 300_000, 300_007]],
  ] as const)("%s", async (_, length, positions) => {
    for (const dtype of ["float32", "float64"] as const) {
      const values =
        dtype === "float32"
          ? new Float32Array(length).fill(1e30)
          : new Float64Array(length).fill(1e300);
      positions.forEach((position, i) => (values[position] = [NaN, Infinity, -Infinity][i % 3]!));
      const found = await findNonFinite(Tensor.from(values, undefined, { device }));
      expect(found).toEqual({
        count: positions.length,
        index: positions.length ? Math.min(...positions) : -1,
      });
    }
  });

  test("positions are those of the view", async () => {
    const x = Tensor.from(new Float32Array([1, 2, NaN, 4, 5, 6]), [2, 3], { device });
    expect(await findNonFinite(x.transpose())).toEqual({ count: 1, index: 4 });
    await expect(findNonFinite(x.toDType("int32"))).rejects.toMatchObject({ code: "DTYPE" });
  });
});
