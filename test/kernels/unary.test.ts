import { unary, type UnaryOp } from "../../lib/ops/unary.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { valuesOf } from "../helpers/plain.js";

const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

/** The normal distribution function: a series whose terms have one sign, and a continued fraction for the tails. */
function below(x: number): number {
  if (x > 3) return 1 - below(-x);
  if (x < -3) {
    let fraction = 0;
    for (let k = 300; k >= 1; --k) fraction = k / (-x + fraction);
    return density(x) / (-x + fraction);
  }
  let term = x;
  let sum = x;
  for (let k = 1; k < 100; ++k) sum += term *= (x * x) / (2 * k + 1);
  return 0.5 + density(x) * sum;
}

const erf = (x: number): number => {
  if (Math.abs(x) > 2) return Math.sign(x) * (1 - 2 * below(-Math.abs(x) * Math.SQRT2));
  let term = x;
  let sum = x;
  for (let k = 1; k < 100; ++k) sum += term *= (2 * x * x) / (2 * k + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
};
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const inner = (x: number) => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
const bent = (x: number) => Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);

/** Each function and its derivatives; points where a formula is not asked for are left out by `domain`. */
const functions: {
  op: UnaryOp;
  f: ((x: number) => number)[];
  domain?: (x: number) => boolean;
  alpha?: number;
  beta?: number;
}[] = [
  { op: "affine", alpha: -1.5, beta: 0.25, f: [(x) => -1.5 * x + 0.25] },
  { op: "abs", f: [Math.abs, Math.sign] },
  { op: "exp", f: [Math.exp] },
  { op: "log", f: [Math.log] },
  { op: "sqrt", f: [Math.sqrt] },
  { op: "reciprocal", f: [(x) => 1 / x] },
  { op: "square", f: [(x) => x * x] },
  { op: "sin", f: [Math.sin] },
  { op: "cos", f: [Math.cos] },
  { op: "power", alpha: 2.5, f: [(x) => x ** 2.5] },
  { op: "erf", f: [erf] },
  {
    op: "tanh",
    f: [
      Math.tanh,
      (x) => 1 - Math.tanh(x) ** 2,
      (x) => -2 * Math.tanh(x) * (1 - Math.tanh(x) ** 2),
    ],
  },
  {
    op: "sigmoid",
    f: [
      sigmoid,
      (x) => sigmoid(x) * sigmoid(-x),
      (x) => sigmoid(x) * sigmoid(-x) * (1 - 2 * sigmoid(x)),
    ],
  },
  { op: "relu", f: [(x) => Math.max(x, 0), (x) => (x > 0 ? 1 : 0)] },
  {
    op: "gelu",
    f: [(x) => x * below(x), (x) => below(x) + x * density(x), (x) => density(x) * (2 - x * x)],
    domain: (x) => Math.abs(x) < 12,
  },
  {
    op: "geluTanh",
    f: [
      (x) => (x / 2) * (1 + Math.tanh(inner(x))),
      (x) => (1 + Math.tanh(inner(x))) / 2 + ((x / 2) * bent(x)) / Math.cosh(inner(x)) ** 2,
      (x) =>
        (bent(x) +
          (x * 6 * 0.044715 * Math.sqrt(2 / Math.PI) * x) / 2 -
          x * Math.tanh(inner(x)) * bent(x) ** 2) /
        Math.cosh(inner(x)) ** 2,
    ],
    domain: (x) => Math.abs(x) < 12,
  },
  {
    op: "silu",
    f: [
      (x) => x * sigmoid(x),
      (x) => sigmoid(x) + x * sigmoid(x) * sigmoid(-x),
      (x) => sigmoid(x) * sigmoid(-x) * (2 + x * (1 - 2 * sigmoid(x))),
    ],
  },
  {
    op: "softplus",
    f: [
      (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
      sigmoid,
      (x) => sigmoid(x) * sigmoid(-x),
    ],
  },
  {
    op: "clamp",
    alpha: -0.5,
    beta: 2,
    f: [(x) => Math.min(Math.max(x, -0.5), 2), (x) => (x < -0.5 || x > 2 ? 0 : 1)],
  },
];

const points = [
  0,
  0.1,
  -0.1,
  0.5,
  -0.5,
  0.625,
  -0.625,
  1,
  -1,
  2,
  -2,
  3.7,
  -3.7,
  5.5,
  -5.5,
  11,
  -11,
  30,
  -30,
  87,
  -87,
  1e-3,
  -1e-3,
  1e-20,
  -1e-20,
  1e3,
  -1e3,
  8191.5,
  -8192.5,
  1e6,
  1e30,
  -1e30,
  Infinity,
  -Infinity,
  NaN,
  ...Array.from({ length: 400 }, (_, i) => Math.fround((i - 200) / 17)),
];

eachDevice("unary", (device) => {
  // |f| below this is compared absolutely: what is left where large parts cancel.
  const bounds = {
    float32: { relative: 4 * 2 ** -23, tiny: 2 ** -24 },
    float64: { relative: 1e-12, tiny: 1e-14 },
  };
  const cases = functions.flatMap(({ op, f }) =>
    f.flatMap((_, order) =>
      (["float32", "float64"] as const).map((dtype) => ({ op, order, dtype })),
    ),
  );
  test.each(cases)("$op, derivative $order, $dtype", ({ op, order, dtype }) => {
    const { f, alpha, beta, domain = () => true } = functions.find((row) => row.op === op)!;
    const xs = points.map(Math.fround).filter((x) => domain(x));
    using x = Tensor.from(xs, [xs.length], { dtype, device });
    using y = unary("test", op, x, { order: order as 0 | 1 | 2, alpha, beta });
    const { relative, tiny } = bounds[dtype];
    valuesOf(y).forEach((received, i) => {
      const exact = f[order]!(xs[i]!);
      const reference = dtype === "float32" ? Math.fround(exact) : exact;
      if (!Number.isFinite(reference)) {
        // Infinity times zero in a formula of an infinite argument may be NaN; a number would be wrong.
        expect(Number.isNaN(received) || received === reference).toBe(true);
        if (order === 0) expect(received).toBe(reference);
        return;
      }
      if (!Number.isFinite(xs[i]!) && Number.isNaN(received)) return;
      // Rounding of the argument moves fast functions by |x f'|: |x| ulps of exp, of the argument of a tail.
      const steep = op === "exp" || op === "power" ? 1 : op === "gelu" ? 1 + xs[i]! ** 2 : 1;
      const allowed =
        Math.abs(reference) * relative * steep + tiny * (order === 0 && op === "exp" ? 0 : 1);
      if (!(Math.abs(received - reference) <= allowed + 2 ** -149))
        throw new Error(`${op}^(${order})(${xs[i]}): ${received} instead of ${reference}`);
    });
  });

  test.each([0, 1, 15, 16, 17, 16_383, 40_001])("%i elements, weighted", (n) => {
    const xs = Float32Array.from({ length: n }, (_, i) => Math.sin(i));
    const ws = Float32Array.from({ length: n }, (_, i) => Math.cos(3 * i));
    using x = Tensor.from(xs, [n], { device });
    using w = Tensor.from(ws, [n], { device });
    using y = unary("test", "square", x, { weight: w });
    const got = valuesOf(y);
    for (let i = 0; i < n; ++i) expect(got[i]).toBe(Math.fround(ws[i]! * Math.fround(xs[i]! ** 2)));
  });

  test("views: transposed, repeated, a slice; the weight broadcasts", () => {
    const rows = 37;
    const columns = 130;
    const xs = Float64Array.from({ length: rows * columns }, (_, i) => i / 7);
    using x = Tensor.from(xs, [rows, columns], { device });
    using turned = x.transpose();
    using cut = turned.slice(0, 3, 100);
    using w = Tensor.from(
      Float64Array.from({ length: rows }, (_, j) => j - 5),
      [rows],
      { device },
    );
    using y = unary("test", "affine", cut, { alpha: 2, beta: 1, weight: w });
    expect(y.shape).toEqual([97, rows]);
    const got = valuesOf(y);
    for (let i = 0; i < 97; ++i)
      for (let j = 0; j < rows; ++j)
        expect(got[i * rows + j]).toBe((j - 5) * (2 * xs[j * columns + i + 3]! + 1));
    using one = Tensor.from(new Float64Array([3]), [1], { device });
    using many = one.expand([5, 2000]);
    using squares = unary("test", "square", many);
    expect(valuesOf(squares).every((v) => v === 9)).toBe(true);
  });

  test("wrong dtype, shape, disposed", () => {
    const x = Tensor.from(new Float32Array(3), [3], { device });
    expect(() => unary("f", "exp", Tensor.from(new Int32Array(3), [3], { device }))).toThrow(
      "f: expected float32 or float64",
    );
    const wide = Tensor.from(new Float64Array(3), [3], { device });
    expect(() => unary("f", "exp", x, { weight: wide })).toThrow("expected float32");
    x.dispose();
    expect(() => unary("f", "exp", x)).toThrow("disposed");
  });
});
