import { rotaryAngles } from "../../lib/autodiff/ops/rotary.js";
import { rotary } from "../../lib/ops/rotary.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

eachDevice("rotary", (device) => {
  const cases = [
    { shape: [0, 3, 4], pairs: 2 },
    { shape: [1, 1, 2], pairs: 1 },
    { shape: [7, 65, 37], pairs: 16 },
  ];
  test.each(
    cases.flatMap((row) =>
      (["float32", "float64"] as const).flatMap((dtype) =>
        [true, false].map((interleaved) => ({ ...row, dtype, interleaved })),
      ),
    ),
  )(
    "$shape, $pairs pairs, $dtype, interleaved $interleaved",
    ({ shape, pairs, dtype, interleaved }) => {
      const [, places = 0, width = 0] = shape;
      using x = toTensor(randomPlain(shape, 1), dtype, device);
      const { cosine, sine } = rotaryAngles(places, 2 * pairs, { dtype, device });
      const [from, c, s] = [x, cosine, sine].map(valuesOf);
      using y = rotary("test", x, cosine, sine, { interleaved, inverse: false });
      expectWithin(
        valuesOf(y),
        (flat) => {
          const i = flat % width;
          const row = flat - i;
          if (i >= 2 * pairs) return from![flat]!;
          const pair = interleaved ? i >> 1 : i % pairs;
          const second = interleaved ? i % 2 === 1 : i >= pairs;
          const a = from![row + (interleaved ? 2 * pair : pair)]!;
          const b = from![row + (interleaved ? 2 * pair + 1 : pair + pairs)]!;
          const at = (Math.floor(row / width) % places) * pairs + pair;
          return second ? b * c![at]! + a * s![at]! : a * c![at]! - b * s![at]!;
        },
        () => 2 * (dtype === "float32" ? 2 ** -23 : 2 ** -52),
      );
      // lengths stay, and turning back gives x again
      using back = rotary("test", y, cosine, sine, { interleaved, inverse: true });
      expectWithin(
        valuesOf(back),
        (i) => from![i]!,
        () => 4 * (dtype === "float32" ? 2 ** -23 : 2 ** -52),
      );
    },
  );

  test("shapes that do not fit", () => {
    const { cosine, sine } = rotaryAngles(3, 4, { device });
    const kind = { interleaved: false, inverse: false };
    expect(() => rotary("rotary", Tensor.zeros([2, 3, 3], { device }), cosine, sine, kind)).toThrow(
      "rotary: expected x [..., places, width] and cosine and sine [places, pairs] with 2 pairs <= width but received [2, 3, 3], [3, 2], [3, 2]",
    );
    expect(() => rotaryAngles(3, 5)).toThrow(
      "rotaryAngles: expected an even number for width but received 5",
    );
  });
});
