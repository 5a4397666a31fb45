import { gather } from "../../lib/ops/gather.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor } from "../helpers/plain.js";

eachDevice("gather", (device) => {
  const cases = [
    { outer: 1, n: 5, inner: 3, m: 7, shared: true },
    { outer: 4, n: 6, inner: 1, m: 3, shared: false },
    { outer: 3, n: 300, inner: 50, m: 400, shared: false },
    { outer: 2, n: 9, inner: 4, m: 0, shared: true },
    { outer: 0, n: 9, inner: 4, m: 2, shared: true },
  ];
  test.each(
    cases.flatMap((row) => (["float32", "float64"] as const).map((dtype) => ({ ...row, dtype }))),
  )("$outer x $n x $inner at $m places, shared $shared, $dtype", ({ dtype, ...picks }) => {
    const { outer, n, inner, m, shared } = picks;
    using x = toTensor(randomPlain([outer, n, inner], 1), dtype, device);
    const places = Int32Array.from(
      { length: shared ? m : outer * m },
      (_, i) => (i * i * 7 + 3) % n,
    );
    using index = Tensor.from(places, [places.length], { device });
    using y = gather("test", x, index, picks, [outer, m, inner]);
    const [from, got] = [x.dataSync(), y.dataSync()];
    for (let o = 0; o < outer; ++o)
      for (let j = 0; j < m; ++j)
        for (let k = 0; k < inner; ++k) {
          const place = places[shared ? j : o * m + j]!;
          expect(got[(o * m + j) * inner + k]).toBe(from[(o * n + place) * inner + k]);
        }
  });

  test.each([-1, 5])("index %i of 5 is an error that names its place", (bad) => {
    using x = Tensor.zeros([1, 5, 2], { device });
    using index = Tensor.from(new Int32Array([0, bad, 4]), [3], { device });
    using y = gather("gather", x, index, { outer: 1, n: 5, inner: 2, m: 3, shared: true }, [3, 2]);
    expect(() => y.dataSync()).toThrow(`index ${bad} at position 1 is not from 0 to 4`);
  });

  test("an index that is no int32", () => {
    using x = Tensor.zeros([1, 5, 2], { device });
    expect(() =>
      gather("gather", x, x, { outer: 1, n: 5, inner: 2, m: 3, shared: true }, [3, 2]),
    ).toThrow("gather: expected an int32 tensor for indices");
  });
});
