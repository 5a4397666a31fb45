import { setThreads } from "../../lib/binding/index.js";
import { type Bits, type GridOptions } from "../../lib/ops/quantization-grid.js";
import { roundToNearestCodes } from "../../lib/ops/round-to-nearest.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { matrix, normal, oracleGrid } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface Case {
  bits: Bits;
  sym: boolean;
  reference_sym_quirk: boolean;
  mse: boolean;
  scale: number[];
  zero: number[];
  codes: number[][];
}
const vectors = readVectors<{ W: number[][]; cases: Case[] }>("quant.json");
const grid = (options: Partial<GridOptions>): GridOptions => ({
  bits: 4,
  groupSize: -1,
  sym: true,
  mse: false,
  scaleDtype: "float32",
  ...options,
});
const half = (x: number) =>
  Math.round(x / 2 ** (Math.floor(Math.log2(x)) - 10)) * 2 ** (Math.floor(Math.log2(x)) - 10);

eachDevice("round_to_nearest", (device) => {
  // The reference's quirk (no mirroring when no weight is negative) is not ours: those cases are left out by name.
  test.each(vectors.cases.filter((one) => !one.reference_sym_quirk))(
    "vectors: $bits bits, sym $sym, mse $mse",
    async (one) => {
      const q = await roundToNearestCodes(matrix(vectors.W, "float32", device), grid(one));
      one.codes.forEach((codes, row) => {
        expect(Math.abs(q.scales[row]! - one.scale[row]!)).toBeLessThan(1e-6 * one.scale[row]!);
        expect(q.zeros[row]).toBe(one.zero[row]);
        codes.forEach((code, column) => {
          const exact = Math.abs(vectors.W[row]![column]! / one.scale[row]!);
          const tie = Math.abs(exact - Math.floor(exact) - 0.5) < 1e-5;
          const difference = Math.abs(q.codes[row * 6 + column]! - code);
          expect(difference).toBeLessThanOrEqual(tie ? 1 : 0); // the largest symmetric weight is a tie by construction
        });
      });
    },
  );

  test.each([
    [1, 1, -1],
    [3, 37, 8],
    [2, 100, 100],
    [5, 64, 200],
    [70, 33, 16],
    [2, 48, 1],
  ])("[%i, %i] in groups of %i equals the plain formulas", async (out, columns, groupSize) => {
    const draw = normal(out * columns);
    const W = Array.from({ length: out }, () =>
      Array.from({ length: columns }, () => Math.fround(draw())),
    );
    for (const sym of [true, false]) {
      const q = await roundToNearestCodes(
        matrix(W, "float32", device),
        grid({ bits: 3, sym, groupSize }),
      );
      const size = groupSize < 0 || groupSize > columns ? columns : groupSize;
      expect(q.groups).toBe(Math.ceil(columns / size));
      W.forEach((row, r) => {
        for (let g = 0; g < q.groups; ++g) {
          const values = row.slice(g * size, (g + 1) * size);
          const wanted = oracleGrid(values, { bits: 3, sym, mse: false });
          expect(q.scales[g * out + r]).toBe(wanted.scale);
          expect(q.zeros[g * out + r]).toBe(wanted.zero);
          values.forEach((w, i) => {
            const column = g * size + i;
            expect(q.groupIndex[column]).toBe(g);
            const error = Math.abs(
              w - wanted.scale * (q.codes[r * columns + column]! - wanted.zero),
            );
            expect(error).toBeLessThanOrEqual(wanted.scale * (sym ? 1 : 0.5) * 1.0001);
          });
        }
      });
    }
  });

  test("float16 scales are stored numbers of float16, and codes are chosen for them; rounding twice changes nothing", async () => {
    const draw = normal(4);
    const W = Array.from({ length: 8 }, () =>
      Array.from({ length: 32 }, () => Math.fround(draw())),
    );
    const options = grid({ scaleDtype: "float16", sym: false });
    const q = await roundToNearestCodes(matrix(W, "float32", device), options);
    q.scales.forEach((scale, row) => {
      const exact = (Math.max(0, ...W[row]!) - Math.min(0, ...W[row]!)) / 15;
      expect(scale).toBe(half(exact));
      W[row]!.forEach((w, column) => {
        const code = q.codes[row * 32 + column]!;
        expect(Math.abs(w - scale * (code - q.zeros[row]!))).toBeLessThanOrEqual(
          scale * 0.5001 + 15 * Math.abs(exact - scale),
        );
      });
    });
  });

  test("scales never become zero, infinite or more than float16 holds", async () => {
    const W = matrix(
      [
        [1e-30, -1e-30],
        [3e38, -1],
        [0, 0],
        [1e-9, 2e-9],
      ],
      "float32",
      device,
    );
    for (const sym of [true, false]) {
      const q = await roundToNearestCodes(W, grid({ scaleDtype: "float16", sym }));
      q.scales.forEach((scale) => {
        expect(scale).toBeGreaterThanOrEqual(2 ** -24);
        expect(scale).toBeLessThanOrEqual(65504);
      });
    }
  });

  test("threads change no bit; an empty layer is empty; options are checked", async () => {
    const draw = normal(9);
    const W = Tensor.from(Float32Array.from({ length: 300 * 301 }, draw), [300, 301], { device });
    const results = [];
    for (const threads of [1, 2]) {
      setThreads(threads);
      results.push(await roundToNearestCodes(W, grid({ groupSize: 10, mse: true })));
    }
    expect(results[1]).toEqual(results[0]);
    expect(
      (await roundToNearestCodes(Tensor.empty([0, 4], { device }), grid({}))).codes.length,
    ).toBe(0);
    await expect(roundToNearestCodes(W, grid({ bits: 5 as Bits }))).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(roundToNearestCodes(W, grid({ groupSize: 0 }))).rejects.toMatchObject({
      code: "ARGUMENT",
    });
  });
});
