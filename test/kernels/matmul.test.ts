import { setThreads } from "../../lib/binding/index.js";
import { matmul } from "../../lib/ops/matmul.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";

type Dtype = "float32" | "float64";
const eps = { float32: 2 ** -23, float64: 2 ** -52 };

/** Elements of a view in logical order, by index arithmetic alone. */
async function elements(x: Tensor): Promise<Float64Array> {
  return Float64Array.from((await x.data()) as Float32Array | Float64Array);
}

/** Sums in float64 over the logical elements; `size` is the sum of magnitudes, the scale of the error. */
function product(a: Float64Array, b: Float64Array, m: number, k: number, n: number, at = [0, 0]) {
  const [offsetA = 0, offsetB = 0] = at;
  const sums = new Float64Array(m * n);
  const sizes = new Float64Array(m * n);
  for (let i = 0; i < m; ++i)
    for (let p = 0; p < k; ++p)
      for (let j = 0; j < n; ++j) {
        const term = a[offsetA + i * k + p]! * b[offsetB + p * n + j]!;
        sums[i * n + j]! += term;
        sizes[i * n + j]! += Math.abs(term);
      }
  return { sums, sizes };
}

eachDevice("matmul", (device) => {
  const random = (shape: number[], dtype: Dtype, seed: number): Tensor => {
    const draw = normal(seed);
    return Tensor.from(Array.from({ length: shape.reduce((x, y) => x * y, 1) }, draw), shape, {
      dtype,
      device,
    });
  };

  /** [m, k] laid out as asked, with the same kind of values. */
  const laidOut = (layout: string, m: number, k: number, dtype: Dtype, seed: number): Tensor => {
    switch (layout) {
      case "transposed":
        return random([k, m], dtype, seed).transpose();
      case "rows of a wider one":
        return random([m, k + 5], dtype, seed).slice(1, 2, k + 2);
      case "columns of a taller one":
        return random([k + 3, m], dtype, seed)
          .slice(0, 1, k + 1)
          .transpose();
      default:
        return random([m, k], dtype, seed);
    }
  };

  const sizes = [
    [1, 1, 1],
    [0, 3, 2],
    [3, 0, 2],
    [3, 2, 0],
    [5, 7, 3],
    [1, 300, 1],
    [300, 17, 1],
    [1, 17, 300],
    [257, 63, 258],
    [3, 4099, 2],
  ];
  const layouts = ["plain", "transposed", "rows of a wider one", "columns of a taller one"];
  test.each(
    sizes.flatMap((size) => (["float32", "float64"] as const).map((dtype) => ({ size, dtype }))),
  )("$size in $dtype, every layout", async ({ size, dtype }) => {
    const [m = 0, k = 0, n = 0] = size;
    for (const [s, left] of layouts.entries()) {
      const right = layouts[(s + m) % layouts.length] ?? "plain";
      using a = laidOut(left, m, k, dtype, 1);
      using b = laidOut(right, k, n, dtype, 2);
      using c = random([m, n], dtype, 3);
      const before = await elements(c);
      const expectedSums = product(await elements(a), await elements(b), m, k, n);
      using plain = matmul(a, b);
      matmul(a, b, { alpha: -0.5, beta: 2, out: c });
      const got = [await elements(plain), await elements(c)];
      expect(plain.shape).toEqual([m, n]);
      const { sums, sizes: magnitude } = expectedSums;
      let worst = 0; // error as a fraction of its bound; one expect, for there are many elements
      for (let i = 0; i < m * n; ++i) {
        const bound = (k + 2) * eps[dtype] * (magnitude[i]! + 2 * Math.abs(before[i]!));
        const first = Math.abs(got[0]![i]! - sums[i]!);
        const second = Math.abs(got[1]![i]! - (2 * before[i]! - 0.5 * sums[i]!));
        worst = Math.max(worst, Math.max(first, second) / Math.max(bound, Number.MIN_VALUE));
      }
      expect(worst).toBeLessThanOrEqual(1);
    }
  });

  test.each([
    { a: [4, 3, 5], b: [5, 2], name: "one b for all: folded into rows" },
    { a: [3, 5], b: [4, 5, 2], name: "one a for all" },
    { a: [2, 1, 3, 5], b: [4, 5, 2], name: "outer batch" },
    { a: [0, 3, 5], b: [5, 2], name: "no matrices" },
    { a: [1, 3, 5], b: [70, 5, 2], name: "small matrices share tiles" },
    { a: [2, 3, 4, 1], b: [2, 1, 1, 6], name: "outer products" },
  ])("batch: $name", async ({ a, b }) => {
    using x = random(a, "float64", 4);
    using y = random(b, "float64", 5);
    using z = matmul(x, y);
    const [m = 0, k = 0] = a.slice(-2);
    const n = b.at(-1) ?? 0;
    const batch = z.shape.slice(0, -2);
    const [left, right, got] = [await elements(x), await elements(y), await elements(z)];
    const offset = (shape: number[], item: number) => {
      let index = item;
      let at = 0;
      let stride = shape.at(-1)! * shape.at(-2)!;
      for (let i = 1; i <= batch.length; ++i) {
        const length = shape.at(-2 - i) ?? 1;
        const position = index % batch.at(-i)!;
        index = Math.floor(index / batch.at(-i)!);
        at += (length === 1 ? 0 : position) * stride;
        stride *= length;
      }
      return at;
    };
    for (let item = 0; item < batch.reduce((p, q) => p * q, 1); ++item) {
      const { sums, sizes: magnitude } = product(left, right, m, k, n, [
        offset(a, item),
        offset(b, item),
      ]);
      for (let i = 0; i < m * n; ++i)
        expect(Math.abs(got[item * m * n + i]! - sums[i]!)).toBeLessThanOrEqual(
          k * eps.float64 * magnitude[i]!,
        );
    }
  });

  test("a transposed batch and a view with gaps in both dimensions", async () => {
    using x = random([6, 4, 5], "float64", 6);
    using swapped = x.transpose(0, 2); // [5, 4, 6], no unit stride in the matrix rows
    using gaps = x.transpose(0, 1); // [4, 6, 5]
    using square = matmul(swapped, gaps.slice(0, 0, 1));
    const values = await elements(x);
    const got = await elements(square);
    const sum = (s: number, i: number, j: number) => {
      let total = 0;
      for (let p = 0; p < 6; ++p) total += values[(p * 4 + i) * 5 + s]! * values[p * 20 + j]!;
      return total;
    };
    expect(square.shape).toEqual([5, 4, 5]);
    for (let s = 0; s < 5; ++s)
      for (let i = 0; i < 4; ++i)
        for (let j = 0; j < 5; ++j) expect(got[(s * 4 + i) * 5 + j]).toBeCloseTo(sum(s, i, j), 12);
  });

  test("NaN reaches its row and column only, and beta 0 does not read out", async () => {
    using a = Tensor.from([1, NaN, 3, 4], [2, 2], { device });
    using b = Tensor.from([1, 1, 1, 1], [2, 2], { device });
    using out = Tensor.from([NaN, NaN, NaN, NaN], [2, 2], { device });
    matmul(a, b, { out });
    expect([...(await elements(out))]).toEqual([NaN, NaN, 7, 7]);
    matmul(Tensor.empty([2, 0], { device }), Tensor.empty([0, 2], { device }), { out });
    expect([...(await elements(out))]).toEqual([0, 0, 0, 0]);
  });

  test("out may be a slice; the rest of it is untouched", async () => {
    using board = Tensor.zeros([4, 6], { device });
    using a = random([2, 3], "float32", 7);
    using b = random([3, 2], "float32", 8);
    using whole = matmul(a, b);
    using view = board.slice(0, 1, 3).slice(1, 2, 4);
    matmul(a, b, { out: view });
    const expectedBoard = new Float64Array(24);
    (await elements(whole)).forEach(
      (v, i) => (expectedBoard[(1 + (i >> 1)) * 6 + 2 + (i & 1)] = v),
    );
    expect(await elements(board)).toEqual(expectedBoard);
  });

  test("threads change no bit", async () => {
    using a = random([2, 300, 280], "float32", 9);
    using b = random([280, 530], "float32", 10);
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      using c = matmul(a, b);
      results.push(await c.data());
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test("what it refuses", () => {
    const a = random([2, 3], "float32", 1);
    const b = random([3, 4], "float32", 2);
    const refuses = (run: () => unknown, code: string) => {
      expect(run).toThrow(expect.objectContaining({ code }));
    };
    refuses(() => matmul(a, a), "SHAPE");
    refuses(() => matmul(a.reshape([6]), b), "SHAPE");
    refuses(
      () => matmul(random([2, 2, 3], "float32", 1), random([3, 3, 4], "float32", 1)),
      "SHAPE",
    );
    refuses(() => matmul(a, b.toDType("float64")), "DTYPE");
    refuses(() => matmul(a.toDType("int32"), b.toDType("int32")), "DTYPE");
    refuses(() => matmul(a, b, { beta: 1 }), "ARGUMENT");
    refuses(() => matmul(a, b, { out: Tensor.zeros([2, 3], { device }) }), "SHAPE");
    refuses(() => matmul(a, b, { out: Tensor.zeros([4, 2], { device }).transpose() }), "ARGUMENT");
    refuses(() => matmul(1 as unknown as Tensor, b), "ARGUMENT");
    a.dispose();
    refuses(() => matmul(a, b), "DISPOSED");
  });
});
