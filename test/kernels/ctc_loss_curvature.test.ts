import { ctcLossCurvature, ctcLossRows } from "../../lib/ops/ctc-loss.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

eachDevice("ctc_loss_curvature", (device) => {
  test("the change of the slope along v; after a sequence's steps it is 0", () => {
    const shape = [3, 6, 4];
    const [x, v] = [randomPlain(shape, 1, (u) => 2 * u), randomPlain(shape, 2)];
    const int32 = (values: number[], of: number[]) =>
      Tensor.from(Int32Array.from(values), of, { device });
    const targets = {
      target: int32([1, 1, 3, 2, 3, 0, 0, 0, 0], [3, 3]),
      inputLengths: int32([6, 4, 5], [3]),
      targetLengths: int32([3, 2, 0], [3]),
      blank: 0,
    };
    const slopeAt = (h: number) => {
      const values = x.values.map((value, i) => value + h * v.values[i]!);
      return valuesOf(
        ctcLossRows("test", toTensor({ shape, values }, "float64", device), targets).slope,
      );
    };
    const h = 1e-5;
    const [more, less] = [slopeAt(h), slopeAt(-h)];
    for (const dtype of ["float64", "float32"] as const) {
      const y = ctcLossCurvature(
        "test",
        toTensor(x, dtype, device),
        toTensor(v, dtype, device),
        targets,
      );
      valuesOf(y).forEach((value, i) => {
        const difference = (more[i]! - less[i]!) / (2 * h);
        expect(Math.abs(value - difference)).toBeLessThanOrEqual(dtype === "float64" ? 1e-9 : 1e-5);
      });
      expect(
        valuesOf(y)
          .slice(24 + 16, 48)
          .every((value) => value === 0),
      ).toBe(true);
    }
  });

  test("no sequences, and another shape of v", () => {
    const int32 = (of: number[]) => Tensor.zeros(of, { dtype: "int32", device });
    const none = {
      target: int32([0, 2]),
      inputLengths: int32([0]),
      targetLengths: int32([0]),
      blank: 0,
    };
    const x = Tensor.zeros([0, 5, 3], { device });
    expect(ctcLossCurvature("test", x, x, none).shape).toEqual([0, 5, 3]);
    expect(() => ctcLossCurvature("ctcLoss", x, Tensor.zeros([0, 5, 2], { device }), none)).toThrow(
      "ctcLoss: expected the shape of x for v",
    );
  });
});
