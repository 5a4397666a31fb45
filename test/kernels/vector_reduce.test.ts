import { setThreads } from "../../lib/binding/index.js";
import { vectorDot, vectorMaxAbs, vectorNorm, vectorSum } from "../../lib/ops/vector-reduce.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { exactSum, vector } from "../helpers/flat-data.js";

const part = 16384; // of the kernel

eachDevice("vector_reduce", (device) => {
  const value = async (result: Tensor<"float64">) => {
    using scalar = result;
    expect(scalar.shape).toEqual([]);
    return (await scalar.data())[0]!;
  };

  describe.each(["float32", "float64"] as const)("%s", (dtype) => {
    test.each([0, 1, 17, part, 3 * part + 5])("%i elements", async (size) => {
      const [x, y] = [vector(dtype, size, 1), vector(dtype, size, 2)];
      using a = Tensor.from(x, undefined, { device });
      using b = Tensor.from(y, undefined, { device });
      // Every addition of a sum of n terms adds at most 2^-53 of what the terms sum to in absolute value.
      const near = (got: number, term: (i: number) => number) => {
        const bound = (size + 1) * 2 ** -53 * exactSum(size, (i) => Math.abs(term(i)));
        expect(Math.abs(got - exactSum(size, term))).toBeLessThanOrEqual(bound);
      };
      near(await value(vectorSum(a)), (i) => x[i]!);
      near(await value(vectorDot(a, b)), (i) => x[i]! * y[i]!);
      const norm = await value(vectorNorm(a));
      const exact = Math.sqrt(exactSum(size, (i) => x[i]! ** 2));
      expect(Math.abs(norm - exact)).toBeLessThanOrEqual((size + 1) * 2 ** -53 * exact);
      expect(await value(vectorMaxAbs(a))).toBe(
        Array.from(x).reduce((m, v) => Math.max(m, Math.abs(v)), 0),
      );
    });

    test.each([
      [0, 5],
      [3, 0],
      [1, 1],
      [37, part + 7],
    ])("%i rows of %i with one vector", async (rows, size) => {
      const [x, y] = [vector(dtype, rows * (size + 3), 3), vector(dtype, size, 4)];
      using wide = Tensor.from(x, [rows, size + 3], { device });
      using a = wide.slice(1, 1, size + 1);
      using b = Tensor.from(y, undefined, { device });
      using dots = vectorDot(a, b);
      expect(dots.shape).toEqual([rows]);
      const got = await dots.data();
      for (let r = 0; r < rows; ++r) {
        const term = (i: number) => x[r * (size + 3) + 1 + i]! * y[i]!;
        const bound = (size + 1) * 2 ** -53 * exactSum(size, (i) => Math.abs(term(i)));
        expect(Math.abs(got[r]! - exactSum(size, term))).toBeLessThanOrEqual(bound);
      }
    });

    test("the same bits for any number of threads", async () => {
      using a = Tensor.from(vector(dtype, 20 * part + 1), undefined, { device });
      const results = new Set<string>();
      for (const threads of [1, 2, 3]) {
        setThreads(threads);
        results.add(String([await value(vectorSum(a)), await value(vectorDot(a, a))]));
      }
      setThreads(2);
      expect(results.size).toBe(1);
    });

    test("strided views, and another axis order", async () => {
      using whole = Tensor.from(vector(dtype, 12 * 35), [12, 35], { device });
      using view = whole.slice(1, 2, 30).transpose();
      using copy = view.contiguous();
      for (const reduce of [vectorSum, vectorNorm, vectorMaxAbs])
        expect(await value(reduce(view))).toBe(await value(reduce(copy)));
      expect(await value(vectorDot(view, copy))).toBe(await value(vectorDot(copy, copy)));
    });

    test("NaN and Inf come through", async () => {
      const x = vector(dtype, 2 * part);
      x[part + 9] = -Infinity;
      using infinite = Tensor.from(x, undefined, { device });
      expect(await value(vectorMaxAbs(infinite))).toBe(Infinity);
      expect(await value(vectorSum(infinite))).toBe(-Infinity);
      expect(await value(vectorNorm(infinite))).toBe(Infinity);
      for (const at of [0, part - 1, 2 * part - 1]) {
        x[at] = NaN;
        using bad = Tensor.from(x, undefined, { device });
        for (const reduce of [vectorSum, vectorNorm, vectorMaxAbs])
          expect(await value(reduce(bad))).toBeNaN();
        x[at] = 1;
      }
    });
  });

  test("float32 products neither overflow nor vanish", async () => {
    using big = Tensor.from(new Float32Array([3e30, 4e30]), undefined, { device });
    expect((await value(vectorNorm(big))) / 5e30).toBeCloseTo(1, 6);
    using small = Tensor.from(new Float32Array([3e-30, 4e-30]), undefined, { device });
    expect((await value(vectorNorm(small))) / 5e-30).toBeCloseTo(1, 6);
  });

  test("what it refuses", () => {
    const x = Tensor.zeros([4, 3], { device });
    const gone = Tensor.zeros([3], { device });
    gone.dispose();
    expect(() => vectorDot(x, Tensor.zeros([4], { device }))).toThrow(/shape \[3\] for y/);
    expect(() => vectorDot(x, Tensor.zeros([3, 4], { device }))).toThrow(/shape \[4, 3\] for y/);
    expect(() => vectorDot(x, Tensor.zeros([3], { device, dtype: "float64" }))).toThrow(
      /dtype of y/,
    );
    expect(() => vectorDot(x, gone)).toThrow(/disposed/);
    expect(() => vectorSum(x.toDType("int32"))).toThrow(/float32 or float64/);
    expect(() => vectorSum(undefined as unknown as Tensor)).toThrow(/a Tensor for x/);
  });
});
