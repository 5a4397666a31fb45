import { normalizeBackward } from "../../lib/ops/normalize.js";
import { eachDevice } from "../helpers/each-device.js";
import { expectWithin, randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("normalize_backward", (device) => {
  const shapes = [
    [1, 0, 4],
    [1, 1, 1],
    [1, 130, 257],
    [5, 3, 17],
    [2, 4, 9000],
  ];
  test.each(
    shapes.flatMap((shape) =>
      (["float32", "float64"] as const).flatMap((dtype) =>
        [true, false].map((centred) => ({ shape, dtype, centred })),
      ),
    ),
  )("$shape, $dtype, centred $centred", ({ shape, dtype, centred }) => {
    const [outer = 0, rows = 0, inner = 0] = shape;
    using y = toTensor(randomPlain(shape, 1), dtype, device);
    using g = toTensor(randomPlain(shape, 2), dtype, device);
    using s = toTensor(
      randomPlain([rows], 3, (u) => u + 2),
      dtype,
      device,
    );
    using dx = normalizeBackward("test", y, s, g, centred);
    const [a, b, inverse, got] = [y, g, s, dx].map(valuesOf);
    for (let r = 0; r < rows; ++r) {
      const at = Array.from(
        { length: outer * inner },
        (_, i) => (Math.floor(i / inner) * rows + r) * inner + (i % inner),
      );
      const mean = centred ? at.reduce((t, i) => t + b![i]!, 0) / at.length : 0;
      const slope = at.reduce((t, i) => t + b![i]! * a![i]!, 0) / at.length;
      expectWithin(
        at.map((i) => got![i]!),
        (k) => inverse![r]! * (b![at[k]!]! - mean - a![at[k]!]! * slope),
        () => 24 * eps[dtype],
      );
    }
  });
});
