import { run } from "../../lib/binding/index.js";
import { hadamardBase } from "../../lib/compress/hadamard-base.js";
import { fwht } from "../../lib/ops/fwht.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

const vectors = readVectors<{ fwht_in: number[]; fwht_out: number[] }>("transforms.json");

/** R entry by entry: Sylvester's matrix has -1 to the number of ones that both indices share. */
function matrixOf(n: number, block: number, base: number[][], signs: number[]): number[][] {
  const m = base.length;
  const ones = (x: number) => x.toString(2).replaceAll("0", "").length;
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) => {
      if (Math.floor(i / block) !== Math.floor(j / block)) return 0;
      const [a, b] = [i % block, j % block];
      const power = (-1) ** ones(Math.floor(a / m) & Math.floor(b / m));
      return (signs[i]! * power * base[a % m]![b % m]!) / Math.sqrt(block);
    }),
  );
}

eachDevice("fwht", (device) => {
  test("1 to 8", async () => {
    using x = Tensor.from(Float64Array.from(vectors.fwht_in), [1, 8], { device });
    const y = (await (await run(fwht("test", x, { block: 8 }))).data()) as Float64Array;
    vectors.fwht_out.forEach((value, i) => {
      expect(Math.abs(y[i]! - value)).toBeLessThan(8 * 2 ** -52 * 12.8);
    });
  });

  test.each([
    { rows: 1, n: 1, block: 1, m: 1 },
    { rows: 3, n: 64, block: 64, m: 1 },
    { rows: 5, n: 48, block: 16, m: 1 },
    { rows: 70, n: 36, block: 36, m: 36 },
    { rows: 2, n: 96, block: 48, m: 12 },
    { rows: 3, n: 80, block: 80, m: 20 },
    { rows: 2, n: 112, block: 56, m: 28 },
    { rows: 0, n: 8, block: 8, m: 1 },
  ])(
    "$rows x $n in blocks of $block, base $m: the matrix entry by entry, and back",
    async (one) => {
      const { rows, n, block, m } = one;
      const draw = normal(n + m);
      const values = Float64Array.from({ length: rows * n }, draw);
      const signs = Array.from({ length: n }, () => Math.sign(draw()));
      const base = hadamardBase(m)!;
      const R = matrixOf(n, block, base, signs);
      for (const dtype of ["float64", "float32"] as const) {
        const eps = dtype === "float64" ? 2 ** -52 : 2 ** -23;
        using wide = Tensor.from(values, [rows, n], { device });
        using x = wide.toDType(dtype);
        const matrix = {
          block,
          signs: Tensor.from(signs, [n], { device }),
          base: m > 1 ? Tensor.from(base.flat(), [m, m], { device }) : undefined,
        };
        const y = await run(fwht("test", x, matrix));
        const got = (await y.data()) as Float64Array;
        const given = (await x.data()) as Float64Array;
        for (let r = 0; r < rows; ++r) {
          const norm = Math.sqrt(given.subarray(r * n, (r + 1) * n).reduce((s, v) => s + v * v, 0));
          for (let j = 0; j < n; ++j) {
            let wanted = 0;
            for (let i = 0; i < n; ++i) wanted += given[r * n + i]! * R[i]![j]!;
            expect(Math.abs(got[r * n + j]! - wanted)).toBeLessThanOrEqual(n * eps * norm);
          }
        }
        const back = (await (await run(fwht("test", y, matrix, true))).data()) as Float64Array;
        back.forEach((value, i) => {
          expect(Math.abs(value - given[i]!)).toBeLessThanOrEqual(n * eps * 6);
        });
      }
    },
  );

  test("a strided view, and blocks that do not fit", async () => {
    const values = Float32Array.from({ length: 12 }, (_, i) => i);
    using x = Tensor.from(values, [4, 3], { device });
    using view = x.transpose();
    const y = await (await run(fwht("test", view, { block: 4 }))).data();
    expect(Array.from(y as Float32Array).slice(0, 4)).toEqual([9, -3, -6, 0]);
    for (const block of [3, 8, 0, -4, 2.5]) {
      await expect(run(fwht("test", view, { block }))).rejects.toMatchObject({ code: "ARGUMENT" });
    }
  });
});

test.each([12, 20, 28, 36, 44, 60, 76, 108, 140])("a Hadamard matrix of order %i", (m) => {
  const base = hadamardBase(m)!;
  base.forEach((row, i) => {
    expect(row.every((value) => Math.abs(value) === 1)).toBe(true);
    base.forEach((other, j) => {
      expect(row.reduce((sum, value, k) => sum + value * other[k]!, 0)).toBe(i === j ? m : 0);
    });
  });
  expect(hadamardBase(172)).toBeUndefined();
});
