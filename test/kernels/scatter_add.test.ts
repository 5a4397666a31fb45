import { setThreads } from "../../lib/binding/index.js";
import { scatterAdd } from "../../lib/ops/gather.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

const eps = { float32: 2 ** -23, float64: 2 ** -52 };

eachDevice("scatter_add", (device) => {
  const cases = [
    { outer: 1, n: 5, inner: 3, m: 7, shared: true },
    { outer: 4, n: 6, inner: 1, m: 3, shared: false },
    { outer: 3, n: 3, inner: 700, m: 600, shared: true },
    { outer: 3, n: 300, inner: 50, m: 400, shared: false },
    { outer: 2, n: 9, inner: 4, m: 0, shared: true },
    { outer: 2, n: 0, inner: 4, m: 0, shared: true },
  ];
  test.each(
    cases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ ...row, dtype }))),
  )(
    "$outer x $n x $inner from $m places, shared $shared, $dtype: float64 sums, rounded once",
    ({ dtype, ...picks }) => {
      const { outer, n, inner, m, shared } = picks;
      using g = toTensor(randomPlain([outer, m, inner], 1), dtype, device);
      const places = Int32Array.from(
        { length: shared ? m : outer * m },
        (_, i) => (i * i * 7 + 3) % n,
      );
      using index = Tensor.from(places, [places.length], { device });
      const expected = new Float64Array(outer * n * inner);
      valuesOf(g).forEach((v, i) => {
        const o = Math.floor(i / (m * inner));
        const j = Math.floor(i / inner) % m;
        expected[(o * n + places[shared ? j : o * m + j]!) * inner + (i % inner)]! += v;
      });
      using y = scatterAdd("test", g, index, picks, [outer, n, inner]);
      valuesOf(y).forEach((v, i) => {
        const bound = eps[dtype] * Math.abs(expected[i]!) + m * 2 ** -52;
        if (!(Math.abs(v - expected[i]!) <= bound))
          throw new Error(`${v} instead of ${expected[i]} at ${i}`);
      });
    },
  );

  test("the same bits for any number of threads; an index out of range", () => {
    using g = toTensor(randomPlain([1, 5000, 40], 2), "float32", device);
    using index = Tensor.from(
      Int32Array.from({ length: 5000 }, (_, i) => (i * 31) % 100),
      [5000],
      { device },
    );
    const picks = { outer: 1, n: 100, inner: 40, m: 5000, shared: true };
    const runs = [1, 2, 3].map((threads) => {
      setThreads(threads);
      using y = scatterAdd("test", g, index, picks, [100, 40]);
      return [...valuesOf(y)];
    });
    setThreads(2);
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
    using bad = scatterAdd("test", g, index, { ...picks, n: 99 }, [99, 40]);
    expect(() => bad.dataSync()).toThrow("is not from 0 to 98");
  });
});
