import { columnStatistics } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal, tokens } from "../helpers/gram-oracle.js";

eachDevice("column_statistics", (device) => {
  test.each([
    [0, 3],
    [1, 1],
    [33, 7],
    [5, 1030],
  ])("%i tokens, %i columns: sums in order, in any cut", async (count, columns) => {
    const X = tokens(count, columns, normal(count + columns));
    using statistics = columnStatistics(columns, { device });
    const cut = Math.floor(count / 3);
    const part = (from: number, to: number) =>
      Tensor.from(X.slice(from * columns, to * columns), [to - from, columns], { device });
    await statistics.add(part(0, cut));
    statistics.addSync(part(cut, count));
    expect(statistics.count).toBe(count);
    const got = await statistics.moments();
    for (let j = 0; j < columns; ++j) {
      const column = Array.from({ length: count }, (_, t) => X[t * columns + j]!);
      const tolerance = count * 2 ** -52;
      const square = column.reduce((sum, x) => sum + x * x, 0) / Math.max(1, count);
      const size = column.reduce((sum, x) => sum + Math.abs(x), 0) / Math.max(1, count);
      expect(Math.abs(got.meanSquare[j]! - square)).toBeLessThanOrEqual(tolerance * square);
      expect(Math.abs(got.meanAbs[j]! - size)).toBeLessThanOrEqual(tolerance * size);
      expect(got.maxAbs[j]).toBe(Math.max(0, ...column.map(Math.abs)));
    }
    expect(statistics.momentsSync()).toEqual(got);
    using whole = columnStatistics(columns, { device });
    await whole.add(part(0, count));
    expect(await whole.moments()).toEqual(got);
  });

  test("a strided view; NaN leaves the statistics as they were; use after dispose", async () => {
    const statistics = columnStatistics(2, { device });
    using x = Tensor.from([1, -2, 3, 4, -5, 6], [2, 3], { device });
    await statistics.add(x.transpose());
    const moments = await statistics.moments();
    expect(Array.from(moments.maxAbs)).toEqual([3, 6]);
    expect(Array.from(moments.meanAbs)).toEqual([2, 5]);
    const bad = Tensor.from([1, 2, 3, Infinity], [2, 2], { device });
    await expect(statistics.add(bad)).rejects.toMatchObject({
      code: "NON_FINITE",
      details: { index: 3 },
    });
    expect(await statistics.moments()).toEqual(moments);
    await expect(statistics.add(x)).rejects.toMatchObject({ code: "SHAPE" });
    statistics.dispose();
    await expect(statistics.moments()).rejects.toMatchObject({ code: "DISPOSED" });
  });
});
