import { axpby } from "../../lib/ops/vector-update.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { unit, vector } from "../helpers/flat-data.js";

eachDevice("axpby", (device) => {
  describe.each(["float32", "float64"] as const)("%s", (dtype) => {
    test.each([0, 1, 19, 40_001])("%i elements", async (size) => {
      const [x, y] = [vector(dtype, size, 1), vector(dtype, size, 2)];
      using a = Tensor.from(x, undefined, { device });
      for (const [alpha, beta] of [
        [0.3, -1.7],
        [2, 1],
        [0.1, 0],
      ] as const) {
        using b = Tensor.from(y, undefined, { device });
        axpby(alpha, a, beta, b);
        const got = await b.data();
        // Roundings: the two factors, b y, and the multiply-add.
        let worst = 0;
        for (let i = 0; i < size; ++i) {
          const scale = Math.abs(alpha * x[i]!) + Math.abs(beta * y[i]!);
          worst = Math.max(
            worst,
            Math.abs(Number(got[i]) - (alpha * x[i]! + beta * y[i]!)) / scale,
          );
        }
        expect(worst).toBeLessThanOrEqual(5 * unit(dtype));
      }
      using b = Tensor.from(y, undefined, { device });
      axpby(1, undefined, 0.5, b);
      expect(await b.data()).toEqual(y.map((v) => v * 0.5));
    });
  });

  test("b = 0 does not read y; NaN in x comes through", async () => {
    using x = Tensor.from(new Float32Array([1, NaN, 3]), undefined, { device });
    using y = Tensor.from(new Float32Array([NaN, 1, Infinity]), undefined, { device });
    axpby(2, x, 0, y);
    expect([...(await y.data())]).toEqual([2, NaN, 6]);
  });

  test("what it refuses", () => {
    const y = Tensor.zeros([6], { device });
    expect(() => {
      axpby(1, Tensor.zeros([5], { device }), 1, y);
    }).toThrow(/the 6 elements of y for x/);
    expect(() => {
      axpby(1, y.toDType("float64"), 1, y);
    }).toThrow(/float32 for the dtype of x/);
    expect(() => {
      axpby(1, Tensor.zeros([6, 2], { device }).slice(1, 0, 1), 1, y);
    }).toThrow(/contiguous/);
    expect(() => {
      axpby(NaN, y, 1, y);
    }).toThrow(/for a /);
    expect(() => {
      axpby(1, y, Infinity, y);
    }).toThrow(/for b /);
  });
});
