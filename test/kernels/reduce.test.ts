import { setThreads } from "../../lib/binding/index.js";
import { axesOf, reduce } from "../../lib/ops/reduce.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { fold, randomPlain, sizeOf, toTensor, valuesOf, type Plain } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("reduce", (device) => {
  const cases: { shape: number[]; axes: number[] }[] = [
    { shape: [], axes: [] },
    { shape: [1], axes: [0] },
    { shape: [3, 0, 2], axes: [1] },
    { shape: [0, 4], axes: [1] },
    { shape: [70, 33], axes: [0] },
    { shape: [70, 33], axes: [1] },
    { shape: [5, 7, 9, 3], axes: [0, 2] },
    { shape: [5, 7, 9, 3], axes: [1, 3] },
    { shape: [40_003], axes: [0] },
    { shape: [12_000, 3], axes: [0] },
    { shape: [3, 12_000], axes: [1] },
    { shape: [2, 130, 100], axes: [0, 2] },
    { shape: [130, 140], axes: [] },
  ];
  test.each(
    cases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ ...row, dtype }))),
  )("$shape over $axes, $dtype", ({ shape, axes, dtype }) => {
    const random = randomPlain(shape, 3);
    using x = toTensor(random, dtype, device);
    const rounded: Plain = { shape, values: valuesOf(x) };
    using sums = reduce("test", "sum", x, axes, 0.5);
    const n = sizeOf(axes.map((axis) => shape[axis]!));
    const exact = fold((v) => 0.5 * v.reduce((a, b) => a + b, 0), rounded, axes).values;
    const sizes = fold((v) => v.reduce((a, b) => a + Math.abs(b), 0), rounded, axes).values;
    // float64 sums, rounded once to the dtype
    valuesOf(sums).forEach((y, i) => {
      const allowed = n * 2 ** -52 * sizes[i]! + eps[dtype] * Math.abs(exact[i]!);
      expect(Math.abs(y - exact[i]!)).toBeLessThanOrEqual(allowed);
    });
    using largest = reduce("test", "max", x, axes);
    const most = fold((v) => v.reduce((a, b) => Math.max(a, b), -Infinity), rounded, axes).values;
    expect([...valuesOf(largest)]).toEqual([...most]);
  });

  test("views: transposed, repeated, sliced", () => {
    const random = randomPlain([40, 60, 5], 1);
    using x = toTensor(random, "float64", device);
    using turned = x.permute([2, 0, 1]);
    using cut = turned.slice(2, 10, 50);
    using sums = reduce("test", "sum", cut, [1]);
    const got = valuesOf(sums);
    for (let a = 0; a < 5; ++a)
      for (let b = 0; b < 40; ++b) {
        let sum = 0;
        for (let i = 0; i < 40; ++i) sum += random.values[(i * 60 + b + 10) * 5 + a]!;
        expect(got[a * 40 + b]).toBeCloseTo(sum, 12);
      }
    using one = Tensor.from([2], [1, 1], { device });
    using many = one.expand([300, 1000]);
    using total = reduce("test", "sum", many, [0, 1]);
    expect(valuesOf(total)[0]).toBe(600_000);
  });

  test("NaN and Inf go through, also in the middle of a vector", () => {
    for (const [value, expected] of [
      [NaN, NaN],
      [Infinity, Infinity],
    ] as const) {
      for (const position of [0, 17, 64, 99]) {
        const values = new Float32Array(100).fill(1);
        values[position] = value;
        using x = Tensor.from(values, [100], { device });
        for (const op of ["sum", "max"] as const) {
          using y = reduce("test", op, x, [0]);
          expect(valuesOf(y)[0]).toBe(expected);
        }
        using columns = Tensor.from(values, [2, 50], { device });
        using y = reduce("test", "max", columns, [0]);
        expect(valuesOf(y)[position % 50]).toBe(expected);
      }
    }
  });

  test("the same bits for any number of threads", () => {
    using x = toTensor(randomPlain([30_000, 7], 5), "float32", device);
    const runs = [1, 2, 3].map((threads) => {
      setThreads(threads);
      using columns = reduce("test", "sum", x, [0]);
      using all = reduce("test", "sum", x, [0, 1]);
      return [...valuesOf(columns), ...valuesOf(all)];
    });
    setThreads(2);
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });

  test("axes", () => {
    expect(axesOf("f", 3, undefined)).toEqual([0, 1, 2]);
    expect(axesOf("f", 3, [-1, 0])).toEqual([0, 2]);
    for (const axes of [[3], [-4], [0.5], [1, 1], [0, -3]])
      expect(() => axesOf("sum", 3, axes)).toThrow(
        "sum: expected distinct axes of a tensor of rank 3",
      );
  });
});
