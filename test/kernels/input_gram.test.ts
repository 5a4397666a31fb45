import { setThreads } from "../../lib/binding/index.js";
import { inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { gramOracle, normal, tokens, worstRelative } from "../helpers/gram-oracle.js";

eachDevice("input_gram", (device) => {
  async function matrix(X: Float32Array, columns: number, cuts: readonly number[]) {
    const gram = inputGram(columns, { device });
    let from = 0;
    for (const to of [...cuts, X.length / columns]) {
      await gram.add(
        Tensor.from(X.subarray(from * columns, to * columns), [to - from, columns], { device }),
      );
      from = to;
    }
    expect(gram.count).toBe(X.length / columns);
    const H = await gram.matrix();
    return (await H.data()) as Float32Array | Float64Array;
  }

  test.each([
    [1, 1],
    [5, 3],
    [100, 17],
    [2048, 49],
    [2049, 100],
    [5000, 33],
    [300, 400],
  ])("%i tokens of %i columns equal the float64 oracle", async (count, columns) => {
    const X = tokens(count, columns, normal(count + columns));
    // float32 products over at most 2048 tokens: sqrt(2048) eps, c = 8.
    expect(worstRelative(await matrix(X, columns, []), gramOracle(X, columns))).toBeLessThan(
      8 * Math.sqrt(2048) * 6e-8,
    );
  });

  test("neither the cutting into batches nor the threads change a bit", async () => {
    const X = tokens(6000, 130, normal(7));
    const results = [];
    for (const [threads, cuts] of [
      [1, []],
      [2, [1, 2047, 2048, 2049, 4097]],
      [3, [3000, 3000, 5999]],
    ] as const) {
      setThreads(threads);
      results.push(await matrix(X, 130, cuts));
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test("float32 sums above 2048 columns", async () => {
    const X = tokens(40, 2100, normal(3));
    const H = await matrix(X, 2100, [13]);
    expect(H).toBeInstanceOf(Float32Array);
    const column = (j: number) => Array.from({ length: 40 }, (_, t) => X[t * 2100 + j]!);
    for (const [i, j] of [
      [0, 0],
      [2099, 5],
      [1000, 2050],
    ] as const) {
      const wanted = (2 / 40) * column(i).reduce((sum, x, t) => sum + x * column(j)[t]!, 0);
      expect(Math.abs(H[i * 2100 + j]! - wanted)).toBeLessThan(1e-5 * (1 + Math.abs(wanted)));
    }
  });

  test("a strided view is read as the view it is", async () => {
    const X = Float32Array.from({ length: 12 }, (_, i) => i);
    const gram = inputGram(3, { device });
    await gram.add(Tensor.from(X, [3, 4], { device }).transpose());
    const rows = Float32Array.from([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    expect(
      worstRelative((await (await gram.matrix()).data()) as Float64Array, gramOracle(rows, 3)),
    ).toBeLessThan(1e-6);
  });

  test("NaN and Inf are refused with their position, and the gram stays as it was", async () => {
    const X = tokens(3000, 5, normal(2));
    const good = await matrix(X, 5, []);
    const gram = inputGram(5, { device });
    const bad = X.slice();
    bad[2500 * 5 + 3] = Infinity;
    bad[2900 * 5] = NaN;
    const refused = gram.add(Tensor.from(bad, [3000, 5], { device }), {
      label: "layer a, batch 3",
    });
    const accepted = gram.add(Tensor.from(X, [3000, 5], { device }));
    await expect(refused).rejects.toMatchObject({
      code: "NON_FINITE",
      details: { index: 2500 * 5 + 3 },
      message: expect.stringContaining("layer a, batch 3") as string,
    });
    await accepted;
    expect(gram.count).toBe(3000);
    expect(await (await gram.matrix()).data()).toEqual(good);
  });
});
