import { run } from "../../lib/binding/index.js";
import { pruneRows, type RowZeros } from "../../lib/ops/prune.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import { keepInGroups, keepLargest, nested } from "../helpers/prune-oracle.js";

/** Few distinct values, so that ties are everywhere. */
function weights(rows: number, columns: number, levels: number): Float32Array {
  const draw = normal(rows * 31 + columns);
  return Float32Array.from({ length: rows * columns }, () => {
    const w = draw();
    return levels > 0 ? Math.round(w * levels) / levels : w;
  });
}

eachDevice("prune_rows", (device) => {
  async function masks(W: Tensor, scale: Float32Array | undefined, zeros: RowZeros) {
    const columns = W.shape[1] ?? 0;
    const columnScale = scale && Tensor.from(scale, [columns], { device });
    const pruned = await run(pruneRows("test", W, columnScale, zeros));
    return { weight: await pruned.weight.data(), mask: await pruned.mask.data() };
  }

  test.each<[number, number, RowZeros]>([
    [0, 3, { zeros: 1 }],
    [3, 0, { zeros: 0 }],
    [1, 1, { zeros: 1 }],
    [5, 37, { zeros: 0 }],
    [5, 37, { zeros: 37 }],
    [70, 33, { zeros: 16 }],
    [9, 1000, { zeros: 701 }],
    [2, 70_001, { zeros: 35_000 }],
    [4, 16, { n: 2, m: 4 }],
    [33, 67, { n: 2, m: 4 }],
    [8, 40, { n: 5, m: 8 }],
    [3, 31, { n: 3, m: 7 }],
    [3, 10, { n: 6, m: 16 }],
    [3, 9, { n: 1, m: 1 }],
    [3, 9, { n: 0, m: 3 }],
  ])("%i x %i, %j: the mask of a sort, with ties", async (rows, columns, zeros) => {
    for (const [levels, scaled] of [
      [0, true],
      [4, false],
      [2, true],
    ] as const) {
      const W = weights(rows, columns, levels);
      const scale = scaled
        ? Float32Array.from({ length: columns }, (_, j) => (j % 5) / 4)
        : undefined;
      using tensor = Tensor.from(W, [rows, columns], { device });
      const got = await masks(tensor, scale, zeros);
      const wanted = nested(W, columns).flatMap((row) => {
        const scores = row.map((w, j) => Math.fround(Math.abs(w) * (scale?.[j] ?? 1)));
        return "zeros" in zeros
          ? keepLargest(scores, zeros.zeros)
          : keepInGroups(scores, zeros.n, zeros.m);
      });
      expect(Array.from(got.mask)).toEqual(wanted);
      expect(Array.from(got.weight)).toEqual(wanted.map((keep, i) => (keep ? W[i] : 0)));
    }
  });

  test("a strided view", async () => {
    const W = weights(6, 8, 0);
    using tensor = Tensor.from(W, [8, 6], { device });
    const got = await masks(tensor.transpose(), undefined, { n: 1, m: 4 });
    const rows = Array.from({ length: 6 }, (_, r) => nested(W, 6).map((row) => row[r]!));
    expect(Array.from(got.mask)).toEqual(
      rows.flatMap((row) => keepInGroups(row.map(Math.abs), 1, 4)),
    );
  });
});
