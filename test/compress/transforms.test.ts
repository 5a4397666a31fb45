import {
  awq,
  awqSync,
  gptq,
  hadamard,
  hadamardRotation,
  hadamardSync,
  roundToNearest,
  smoothQuant,
  smoothQuantSync,
  wanda,
} from "../../lib/compress/index.js";
import { awqScale } from "../../lib/compress/passes/awq.js";
import { columnStatistics, inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { ar1Layer, matrix, normal } from "../helpers/gptq-oracle.js";
import { nested, quadraticError } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  W: number[][];
  X: number[][];
  smoothquant: { alpha: number; s: number[]; W_scaled: number[][] };
  awq_scales: { alpha: number; s: number[] }[];
  awq_act_mean_abs: number[];
}
const vectors = readVectors<Vectors>("transforms.json");
const W = (rows: number[][]) => matrix(rows, "float32", "cpu");
const H = (rows: number[][]) => matrix(rows, "float64", "cpu");
const transpose = (rows: number[][]) => rows[0]!.map((_, t) => rows.map((row) => row[t]!));

async function statisticsOf(X: number[][]) {
  const statistics = columnStatistics(X.length);
  await statistics.add(W(transpose(X)));
  return statistics;
}
const product = (A: number[][], B: number[][]) =>
  A.map((row) => B[0]!.map((_, t) => row.reduce((sum, a, j) => sum + a * B[j]![t]!, 0)));

describe("smoothQuant", () => {
  test("scale and weights of the file; the product does not change", async () => {
    const { alpha, s, W_scaled } = vectors.smoothquant;
    const statistics = await statisticsOf(vectors.X);
    const got = await smoothQuant([W(vectors.W)], statistics, { alpha });
    s.forEach((value, j) => {
      expect(Math.abs(got.scale[j]! - value)).toBeLessThan(1e-6 * value);
    });
    const scaled = nested((await got.weights[0]!.data()) as Float32Array, 8);
    scaled.flat().forEach((value, i) => {
      expect(Math.abs(value - W_scaled.flat()[i]!)).toBeLessThan(1e-6);
    });
    const divided = vectors.X.map((row, j) => row.map((x) => x / got.scale[j]!));
    const [before, after] = [product(vectors.W, vectors.X), product(scaled, divided)];
    before.flat().forEach((value, i) => {
      expect(Math.abs(after.flat()[i]! - value)).toBeLessThan(1e-5);
    });
    expect(smoothQuantSync([W(vectors.W)], statistics, { alpha }).scale).toEqual(got.scale);
  });

  test("layers that share an input share the scale; dead channels and zero weights: 1", async () => {
    const X = [
      [4, -8],
      [0, 0],
      [1, 1],
    ];
    const statistics = await statisticsOf(X);
    const weights = [
      W([[1, 2, 0]]),
      W([
        [-2, 1, 0],
        [1, 1, 0],
      ]),
    ];
    const got = await smoothQuant(weights, statistics);
    expect(Array.from(got.scale)).toEqual([2, 1, 1]); // sqrt(8) / sqrt(2)
    expect(Array.from(got.weights[1]!.dataSync() as Float32Array)).toEqual([-4, 1, 0, 2, 1, 0]);
  });

  test("bad input", async () => {
    const statistics = await statisticsOf(vectors.X);
    const w = W(vectors.W);
    const fails = async (run: Promise<unknown>, code: string) => {
      await expect(run).rejects.toMatchObject({ code });
    };
    await fails(smoothQuant([], statistics), "ARGUMENT");
    await fails(smoothQuant(w as never, statistics), "ARGUMENT");
    await fails(smoothQuant([w, W([[1]])], statistics), "SHAPE");
    await fails(smoothQuant([w], statistics, { alpha: 2 }), "ARGUMENT");
    await fails(smoothQuant([w], columnStatistics(8)), "NO_TOKENS");
    await fails(smoothQuant([w], columnStatistics(3)), "ARGUMENT");
    await fails(smoothQuant([W([[NaN, 0, 0, 0, 0, 0, 0, 0]])], statistics), "NON_FINITE");
  });
});

describe("awq", () => {
  test.each(vectors.awq_scales.map((one) => [one.alpha, one.s] as const))(
    "the scale of the file, exponent %p",
    (alpha, s) => {
      const got = awqScale(Float64Array.from(vectors.awq_act_mean_abs), alpha);
      s.forEach((value, j) => {
        expect(Math.abs(got[j]! - value)).toBeLessThan(1e-6 * value);
      });
    },
  );

  /** Inputs of very different size, weights with an outlier: a layer that scaling helps. */
  async function layer() {
    const draw = normal(3);
    const X = Array.from({ length: 48 }, (_, j) =>
      Array.from({ length: 300 }, () => draw() * (j % 11 === 0 ? 20 : 0.5)),
    );
    const rows = Array.from({ length: 40 }, () =>
      Array.from({ length: 48 }, () => Math.fround(draw())),
    );
    const gram = inputGram(48);
    await gram.add(W(transpose(X)));
    const matrixOf = nested((await (await gram.matrix()).data()) as Float64Array, 48);
    return { rows, gram, H: matrixOf, statistics: await statisticsOf(X) };
  }
  const grid = { bits: 3, groupSize: 16, sym: false } as const;

  test("the error of no scaling is that of rounding to nearest; the search is never worse; what it returns has that error", async () => {
    const { rows, gram, H: h, statistics } = await layer();
    for (const duoScaling of [false, true]) {
      const options = { ...grid, duoScaling, clip: false, report: "full" } as const;
      const got = await awq([W(rows)], gram, statistics, options);
      const rtn = await roundToNearest(W(rows), { ...grid, gram, report: "full" });
      expect(Math.abs(got.errors[0]! - rtn.report.relativeError!)).toBeLessThan(1e-9);
      expect(got.errors.length).toBe(20);
      const chosen = got.errors[Math.round(got.ratio * 20)]!;
      expect(chosen).toBe(Math.min(...got.errors));
      expect(chosen).toBeLessThan(0.9 * got.errors[0]!);
      const q = await roundToNearest(got.weights[0]!, { ...grid, gram: got.gram, report: "full" });
      expect(Math.abs(q.report.relativeError! - chosen)).toBeLessThan(1e-5 * chosen);
      // The same error seen from outside: undo the scale.
      const dense = nested(q.dequantize().dataSync(), 48).map((row) =>
        row.map((w, j) => w / got.scale[j]!),
      );
      const zero = rows.map((row) => row.map(() => 0));
      const outside = quadraticError(rows, dense, h) / quadraticError(rows, zero, h);
      expect(Math.abs(outside - chosen)).toBeLessThan(1e-5 * chosen);
      expect(awqSync([W(rows)], gram, statistics, options).scale).toEqual(got.scale);
    }
  });

  test("clipping afterwards helps rounding; gptq goes on from the scaled gram", async () => {
    const { rows, gram, statistics } = await layer();
    const plain = await awq([W(rows)], gram, statistics, { ...grid, clip: false });
    const clipped = await awq([W(rows)], gram, statistics, grid);
    expect(clipped.ratio).toBe(plain.ratio);
    const error = async (weight: Tensor) =>
      // Against the weight before clipping: what the layer was.
      quadraticError(
        nested((await plain.weights[0]!.data()) as Float32Array, 48),
        nested((await roundToNearest(weight, grid)).dequantize().dataSync(), 48),
        nested((await plain.gram.data()) as Float64Array, 48),
      );
    expect(await error(clipped.weights[0]!)).toBeLessThan(await error(plain.weights[0]!));
    const q = await gptq(plain.weights[0]!, plain.gram, { ...grid, report: "full" });
    expect(q.report.relativeError).toBeLessThan(q.report.rtnRelativeError!);
  });

  test("layers that share an input are searched together", async () => {
    const { rows, gram, statistics } = await layer();
    const both = await awq([W(rows.slice(0, 10)), W(rows.slice(10))], gram, statistics, {
      ...grid,
      report: "full",
    });
    const one = await awq([W(rows)], gram, statistics, { ...grid, report: "full" });
    expect(both.weights.map((weight) => weight.shape[0])).toEqual([10, 30]);
    both.errors.forEach((error, i) => {
      expect(Math.abs(error - one.errors[i]!)).toBeLessThan(1e-9);
    });
  });

  test("no tokens, a wrong option", async () => {
    const { rows, gram, statistics } = await layer();
    await expect(awq([W(rows)], inputGram(48), statistics)).rejects.toMatchObject({
      code: "NO_TOKENS",
    });
    await expect(awq([W(rows)], gram, columnStatistics(48))).rejects.toMatchObject({
      code: "NO_TOKENS",
    });
    await expect(awq([W(rows)], gram, statistics, { bits: 5 as never })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(awq([W(rows)], gram, statistics, { clip: 1 as never })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
  });
});

describe("hadamard", () => {
  test.each([
    [64, 64, 1],
    [48, 48, 12],
    [40, 40, 20],
    [26, 2, 1],
    [7, 1, 1],
    [1, 1, 1],
  ])("%i columns are mixed in blocks of %i, base %i", (size, block, base) => {
    const rotation = hadamardRotation(size);
    expect([rotation.block, rotation.baseOrder]).toEqual([block, base]);
  });

  test("the layer's function does not change, and turns back", async () => {
    const { W: rows, H: gram } = ar1Layer(6, 48, 0.8, 1);
    const { weight, gram: rotated, rotation } = await hadamard(W(rows), H(gram), { seed: 5 });
    // W H W^T is what the outputs look like: the same before and after.
    const outputs = (A: number[][], G: number[][]) => product(product(A, G), transpose(A));
    const before = outputs(rows, gram);
    const after = outputs(
      nested((await weight.data()) as Float32Array, 48),
      nested((await rotated.data()) as Float64Array, 48),
    );
    const largest = Math.max(...before.flat().map(Math.abs));
    before.flat().forEach((value, i) => {
      expect(Math.abs(after.flat()[i]! - value)).toBeLessThan(1e-5 * largest);
    });
    const back = nested(
      (await (await rotation.apply(weight, { inverse: true })).data()) as Float32Array,
      48,
    );
    back.flat().forEach((value, i) => {
      expect(Math.abs(value - rows.flat()[i]!)).toBeLessThan(1e-5);
    });
    const same = hadamardSync(W(rows), H(gram), { rotation });
    expect(same.weight.dataSync()).toEqual(await weight.data());
    const other = await hadamard(W(rows), H(gram), { seed: 6 });
    expect(await other.weight.data()).not.toEqual(await weight.data());
  });

  test("outliers are spread, so that rounding loses less", async () => {
    const draw = normal(2);
    const rows = Array.from({ length: 32 }, (_, r) =>
      Array.from({ length: 128 }, (_, j) => Math.fround(draw() * (j === r ? 30 : 1))),
    );
    const { H: gram } = ar1Layer(1, 128, 0.3, 1);
    const options = { bits: 4, groupSize: -1, report: "full" } as const;
    const plain = await roundToNearest(W(rows), { ...options, gram: H(gram) });
    const { weight, gram: rotated } = await hadamard(W(rows), H(gram));
    const turned = await roundToNearest(weight, { ...options, gram: rotated });
    expect(turned.report.relativeError).toBeLessThan(0.2 * plain.report.relativeError!);
  });

  test("bad input", async () => {
    const w = W([[1, 2, 3, 4]]);
    const h = Tensor.zeros([4, 4]);
    await expect(hadamard(w, h, { rotation: hadamardRotation(8) })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    expect(() => hadamardRotation(0)).toThrow("size");
    expect(() => hadamardRotation(4, { seed: -1 })).toThrow("seed");
    await expect(hadamard(W([[1, NaN]]), Tensor.zeros([2, 2]))).rejects.toMatchObject({
      code: "NON_FINITE",
    });
  });
});

test("wanda reads the diagonal alone", async () => {
  const statistics = await statisticsOf(vectors.X);
  const gram = inputGram(8);
  await gram.add(W(transpose(vectors.X)));
  const a = await wanda(W(vectors.W), statistics, { pattern: "2:4" });
  const b = await wanda(W(vectors.W), gram, { pattern: "2:4" });
  expect(await a.mask.data()).toEqual(await b.mask.data());
  expect(a.report).toMatchObject({ tokens: 12, rows: "none" });
  await expect(wanda(W(vectors.W), columnStatistics(8), { sparsity: 0.5 })).rejects.toMatchObject({
    code: "NO_TOKENS",
  });
});
