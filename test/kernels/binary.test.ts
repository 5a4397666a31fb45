import { binary, type BinaryOp } from "../../lib/ops/binary.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import {
  at,
  indices,
  randomPlain,
  sizeOf,
  toTensor,
  valuesOf,
  type Plain,
} from "../helpers/plain.js";

const nan = (a: number, b: number) => Number.isNaN(a) || Number.isNaN(b);
const functions: Record<BinaryOp, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: (a, b) => (nan(a, b) ? NaN : Math.max(a, b)),
  minimum: (a, b) => (nan(a, b) ? NaN : Math.min(a, b)),
  pow: (a, b) => a ** b,
};
const ops = Object.keys(functions) as BinaryOp[];

eachDevice("binary", (device) => {
  test.each(ops.flatMap((op) => (["float32", "float64"] as const).map((dtype) => ({ op, dtype }))))(
    "$op in $dtype: special values",
    ({ op, dtype }) => {
      const specials = [0, -0, 1, -1.5, 2, 3e30, -3e30, 1e-30, Infinity, -Infinity, NaN];
      const as = specials.flatMap((a) => specials.map(() => a)).map(Math.fround);
      const bs = specials.flatMap(() => specials).map(Math.fround);
      using a = Tensor.from(as, [as.length], { dtype, device });
      using b = Tensor.from(bs, [bs.length], { dtype, device });
      using y = binary("test", op, a, b);
      valuesOf(y).forEach((received, i) => {
        const exact = functions[op](as[i]!, bs[i]!);
        const reference = dtype === "float32" ? Math.fround(exact) : exact;
        if (op === "pow" && Number.isFinite(reference)) {
          expect(Math.abs(received - reference)).toBeLessThanOrEqual(Math.abs(reference) * 2e-7);
        } else if (op === "pow" && Math.abs(as[i]!) === 1) {
          // JavaScript alone says NaN for 1^NaN and 1^Infinity.
          expect([1, NaN, -1]).toContain(received);
        } else {
          expect(received === reference || Object.is(received, reference)).toBe(true);
        }
      });
    },
  );

  const shapes: [number[], number[]][] = [
    [[], []],
    [[0], [1]],
    [[1], [7]],
    [[33, 65], [65]],
    [
      [33, 65],
      [33, 1],
    ],
    [
      [5, 1, 4, 1],
      [3, 1, 70],
    ],
    [
      [200, 200],
      [200, 200],
    ],
    [[], [40_001]],
  ];
  test.each(shapes.map(([a, b]) => ({ a, b })))("shapes $a and $b", ({ a, b }) => {
    const x = randomPlain(a, 1);
    const y = randomPlain(b, 2);
    check(x, y, toTensor(x, "float64", device), toTensor(y, "float64", device));
  });

  test("views with other strides", () => {
    const x = randomPlain([50, 40], 1);
    const y = randomPlain([40, 3, 50], 2);
    using a = toTensor(x, "float64", device);
    using b = toTensor(y, "float64", device);
    using turned = b.permute([1, 2, 0]);
    using middle = turned.slice(0, 1, 2);
    const reference: Plain = {
      shape: [1, 50, 40],
      values: Float64Array.from(indices([1, 50, 40]), ([, i, j]) => at(y, [j!, 1, i!])),
    };
    check(x, reference, a, middle);
  });

  function check(x: Plain, y: Plain, a: Tensor, b: Tensor): void {
    using z = binary("test", "subtract", a, b);
    const got = valuesOf(z);
    expect(got.length).toBe(sizeOf(z.shape));
    indices(z.shape).forEach((index, i) => {
      if (got[i] !== at(x, index) - at(y, index)) throw new Error(`wrong at [${index.join(", ")}]`);
    });
  }

  test("shapes that do not broadcast, two dtypes", () => {
    using a = Tensor.from(new Float32Array(6), [2, 3], { device });
    using b = Tensor.from(new Float32Array(8), [2, 4], { device });
    expect(() => binary("add", "add", a, b)).toThrow(
      "add: expected shapes that broadcast but received [2, 3] and [2, 4]",
    );
    using c = Tensor.from(new Float64Array(6), [2, 3], { device });
    expect(() => binary("add", "add", a, c)).toThrow(
      'add: expected float32 for the dtype of b but received "float64"',
    );
  });
});
