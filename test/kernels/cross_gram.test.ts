import { crossGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal, tokens } from "../helpers/gram-oracle.js";

/** 2/N (R - X)^T X element by element in float64, and the size of each sum's terms. */
function oracle(X: Float32Array, R: Float32Array, columns: number) {
  const count = X.length / columns;
  const sums = new Float64Array(columns * columns);
  const sizes = new Float64Array(columns * columns);
  for (let t = 0; t < count; ++t) {
    for (let i = 0; i < columns; ++i) {
      const gap = Math.fround(R[t * columns + i]! - X[t * columns + i]!);
      for (let j = 0; j < columns; ++j) {
        const term = (2 / count) * gap * X[t * columns + j]!;
        sums[i * columns + j]! += term;
        sizes[i * columns + j]! += Math.abs(term);
      }
    }
  }
  return { sums, sizes };
}

eachDevice("cross_gram", (device) => {
  test.each([
    [1, 1],
    [33, 7],
    [2500, 5],
    [40, 300],
  ])("%i tokens, %i columns", async (count, columns) => {
    const X = tokens(count, columns, normal(count + columns));
    const noise = normal(7);
    const R = X.map((x) => x + 0.1 * noise());
    using gram = crossGram(columns, { device });
    const rows = (data: Float32Array, from: number, to: number) =>
      Tensor.from(data.slice(from * columns, to * columns), [to - from, columns], { device });
    const cut = Math.floor(count / 3);
    await gram.add(rows(X, 0, cut), rows(R, 0, cut));
    gram.addSync(rows(X, cut, count), rows(R, cut, count));
    expect(gram.count).toBe(count);
    const got = (await gram.matrix().data()) as Float64Array;
    const { sums, sizes } = oracle(X, R, columns);
    got.forEach((value, i) => {
      const tolerance = Math.min(count, 2048) * 2 ** -23 * sizes[i]!;
      expect(Math.abs(value - sums[i]!)).toBeLessThanOrEqual(tolerance);
    });
  });

  test("no tokens; strided views; NaN in either leaves the sum as it was", async () => {
    using gram = crossGram(3, { device });
    expect(Array.from((await gram.matrix().data()) as Float64Array)).toEqual(new Array(9).fill(0));
    const X = Tensor.from([1, 4, 2, 5, 3, 6], [3, 2], { device }).transpose();
    const R = Tensor.from([2, 4, 2, 5, 3, 7], [3, 2], { device }).transpose();
    await gram.add(X, R);
    const wanted = [1, 2, 3, 0, 0, 0, 4, 5, 6];
    expect(Array.from((await gram.matrix().data()) as Float64Array)).toEqual(wanted);
    const bad = Tensor.from([1, 2, NaN], [1, 3], { device });
    const good = Tensor.from([1, 2, 3], [1, 3], { device });
    const error = { code: "NON_FINITE", details: { index: 2 } };
    await expect(gram.add(bad, good)).rejects.toMatchObject(error);
    await expect(gram.add(good, bad)).rejects.toMatchObject(error);
    expect(gram.count).toBe(2);
    expect(Array.from((await gram.matrix().data()) as Float64Array)).toEqual(wanted);
  });

  test("shapes that do not fit, and use after dispose", async () => {
    const gram = crossGram(3, { device });
    const one = Tensor.zeros([2, 3], { device });
    await expect(gram.add(one, Tensor.zeros([1, 3], { device }))).rejects.toMatchObject({
      code: "SHAPE",
    });
    await expect(gram.add(Tensor.zeros([2, 4], { device }), one)).rejects.toMatchObject({
      code: "SHAPE",
    });
    gram.dispose();
    await expect(gram.add(one, one)).rejects.toMatchObject({ code: "DISPOSED" });
    expect(() => gram.matrix()).toThrow(expect.objectContaining({ code: "DISPOSED" }) as Error);
  });
});
