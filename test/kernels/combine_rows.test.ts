import { combineRows } from "../../lib/ops/vector-update.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { exactSum, unit, vector } from "../helpers/flat-data.js";

eachDevice("combine_rows", (device) => {
  describe.each(["float32", "float64"] as const)("%s", (dtype) => {
    test.each([
      [0, 3, 5],
      [2, 0, 5],
      [3, 2, 0],
      [1, 1, 1],
      [1, 30, 2049],
      [7, 5, 1025],
    ])("%i rows of %i terms of %i", async (rows, terms, size) => {
      const c = vector("float64", rows * terms, 1);
      const x = vector(dtype, terms * (size + 2), 2);
      const y = vector(dtype, rows * (size + 1), 3);
      using coefficients = Tensor.from(c, [rows, terms], { device });
      using wide = Tensor.from(x, [terms, size + 2], { device });
      using left = wide.slice(1, 2, size + 2);
      for (const [alpha, beta] of [
        [1, 0],
        [-0.5, 1],
      ] as const) {
        using whole = Tensor.from(y, [rows, size + 1], { device });
        using right = whole.slice(1, 0, size);
        combineRows(coefficients, left, right, { alpha, beta });
        const got = await whole.data();
        for (let r = 0; r < rows; ++r) {
          for (let i = 0; i < size; ++i) {
            const term = (j: number) =>
              j === terms
                ? beta * y[r * (size + 1) + i]!
                : alpha * c[r * terms + j]! * x[j * (size + 2) + 2 + i]!;
            const exact = exactSum(terms + 1, term);
            const scale = exactSum(terms + 1, (j) => Math.abs(term(j)));
            // Sums in float64, then one rounding to the dtype.
            const bound = (terms + 3) * 2 ** -53 * scale + 2 * unit(dtype) * Math.abs(exact);
            if (!(Math.abs(Number(got[r * (size + 1) + i]) - exact) <= bound))
              throw new Error(
                `row ${r}, column ${i}: ${String(got[r * (size + 1) + i])}, not ${exact}`,
              );
          }
          expect(got[r * (size + 1) + size]).toBe(y[r * (size + 1) + size]); // outside the view
        }
      }
    });
  });

  test("beta = 0 does not read y", async () => {
    using c = Tensor.from(new Float64Array([2]), [1, 1], { device });
    using x = Tensor.from(new Float32Array([1, 2]), [1, 2], { device });
    using y = Tensor.from(new Float32Array([NaN, NaN]), [1, 2], { device });
    combineRows(c, x, y);
    expect([...(await y.data())]).toEqual([2, 4]);
  });

  test("what it refuses", () => {
    const c = Tensor.zeros([2, 3], { device, dtype: "float64" });
    const x = Tensor.zeros([3, 4], { device });
    const y = Tensor.zeros([2, 4], { device });
    expect(() => {
      combineRows(c, y, y);
    }).toThrow(/shape \[2, 2\] for coefficients/);
    expect(() => {
      combineRows(c.toDType("float32"), x, y);
    }).toThrow(/float64 for the dtype of coeff/);
    expect(() => {
      combineRows(c, x, Tensor.zeros([2, 5], { device }));
    }).toThrow(/\[rows, 4\] for y/);
    expect(() => {
      combineRows(c, x, y.toDType("float64"));
    }).toThrow(/dtype of y/);
    expect(() => {
      combineRows(c, Tensor.zeros([4, 3], { device }).transpose(), y);
    }).toThrow(/contiguous rows/);
    expect(() => {
      combineRows(c, x, y, { alpha: NaN });
    }).toThrow(/for alpha/);
  });
});
