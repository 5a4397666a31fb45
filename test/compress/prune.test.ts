import {
  magnitude,
  magnitudeGlobal,
  magnitudeGlobalSync,
  magnitudeSync,
  wanda,
  wandaSync,
} from "../../lib/compress/index.js";
import { inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { ar1Layer, matrix, normal } from "../helpers/gptq-oracle.js";
import { mediumLayer } from "../helpers/medium-layer.js";
import { keepLargest, nested, quadraticError } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface WandaVectors {
  W: number[][];
  X: number[][];
  mask_50_per_row: number[][];
  mask_30_per_row: number[][];
  mask_2_4: number[][];
  mask_4_8: number[][];
  magnitude_mask_50_per_layer: number[][];
  magnitude_mask_2_4: number[][];
  err_H: Record<string, number>;
}

const vectors = readVectors<WandaVectors>("wanda.json");
const W = matrix(vectors.W, "float32", "cpu");
const X = matrix(
  vectors.X[0]!.map((_, t) => vectors.X.map((row) => row[t]!)),
  "float32",
  "cpu",
);
/** 2/N X X^T, and the masks of the file, which are 1 where pruned. */
const H = vectors.X.map((a) =>
  vectors.X.map((b) => (2 / a.length) * a.reduce((sum, x, t) => sum + x * b[t]!, 0)),
);
const pruned = async (mask: Tensor<"bool">) =>
  nested(
    (await mask.data()).map((keep) => 1 - keep),
    8,
  );

describe("wanda", () => {
  test.each([
    ["mask_50_per_row", { sparsity: 0.5 }],
    ["mask_30_per_row", { sparsity: 0.3 }],
    ["mask_2_4", { pattern: "2:4" }],
    ["mask_4_8", { pattern: "4:8" }],
  ] as const)("%s", async (name, target) => {
    const gram = inputGram(8);
    await gram.add(X);
    const got = await wanda(W, gram, { ...target, report: "full" });
    expect(await pruned(got.mask)).toEqual(vectors[name]);
    const kept = vectors.W.map((row, r) => row.map((w, j) => (vectors[name][r]![j] ? 0 : w)));
    const zero = kept.map((row) => row.map(() => 0));
    const { report } = got;
    const relative = quadraticError(vectors.W, kept, H) / quadraticError(vectors.W, zero, H);
    expect(Math.abs(report.relativeError! - relative)).toBeLessThan(1e-6 * relative);
    expect(report.zeros).toBe(vectors[name].flat().filter(Boolean).length);
    expect(report.sparsity).toBe(report.zeros / 48);
    expect(report.tokens).toBe(12);
    expect(report.relativeError).toBeLessThan(report.magnitudeRelativeError!);
    expect(wandaSync(W, gram, target).mask.dataSync()).toEqual(await got.mask.data());
  });

  test("the errors of the file", async () => {
    const h = matrix(H, "float64", "cpu");
    for (const [name, target] of [
      ["wanda_50", { sparsity: 0.5 }],
      ["wanda_2_4", { pattern: "2:4" }],
    ] as const) {
      const got = await wanda(W, h, target);
      const weight = nested(await got.weight.data(), 8);
      expect(quadraticError(vectors.W, weight, H)).toBeCloseTo(vectors.err_H[name]!, 5);
    }
  });

  test("identity inputs: magnitude within rows; any positive scale: the same mask", async () => {
    const layer = ar1Layer(9, 40, 0.7, 3);
    const w = matrix(layer.W, "float32", "cpu");
    const identity = layer.H.map((row, i) => row.map((_, j) => Number(i === j)));
    const plain = await wanda(w, matrix(identity, "float64", "cpu"), { sparsity: 0.6 });
    const rows = await magnitude(w, { sparsity: 0.6, scope: "row" });
    expect(await plain.mask.data()).toEqual(await rows.mask.data());
    const masks = [1, 2 ** 20, 2 ** -30].map((scale) =>
      wandaSync(
        w,
        matrix(
          layer.H.map((row) => row.map((h) => h * scale)),
          "float64",
          "cpu",
        ),
        {
          pattern: "2:4",
        },
      ).mask.dataSync(),
    );
    expect(masks[1]).toEqual(masks[0]);
    expect(masks[2]).toEqual(masks[0]);
  });

  test("columns without input go first and are said to", async () => {
    const dead = matrix(
      [
        [4, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
      ],
      "float64",
      "cpu",
    );
    const got = await wanda(Tensor.from([1, 100, 3], [1, 3]), dead, { sparsity: 0.34 });
    expect(Array.from(await got.mask.data())).toEqual([1, 0, 1]);
    expect(got.report.warnings.join()).toMatch(/1 of 3 columns/);
  });
});

describe("magnitude", () => {
  test("the masks of the file, by the published rule and by exact count", async () => {
    const published = await magnitude(W, { sparsity: 0.5, exactCount: false });
    expect(await pruned(published.mask)).toEqual(vectors.magnitude_mask_50_per_layer);
    expect(published.report.zeros).toBe(
      vectors.magnitude_mask_50_per_layer.flat().filter(Boolean).length,
    );
    const pattern = await magnitude(W, { pattern: "2:4" });
    expect(await pruned(pattern.mask)).toEqual(vectors.magnitude_mask_2_4);
    const exact = await magnitude(W, { sparsity: 0.5 });
    expect(exact.report).toMatchObject({
      zeros: 24,
      sparsity: 0.5,
      target: "50 %",
      method: "magnitude",
    });
    expect(Array.from(await exact.mask.data())).toEqual(
      keepLargest(
        vectors.W.flat().map((w) => Math.abs(Math.fround(w))),
        24,
      ),
    );
  });

  test("one threshold over several layers; ties go in the order of the layers", async () => {
    const draw = normal(4);
    const values = [30, 7, 200].map((size) =>
      Array.from({ length: size }, () => Math.round(4 * draw()) / 4),
    );
    const layers = values.map((one) => Tensor.from(one, [1, one.length]));
    const all = values.flat();
    for (const sparsity of [0, 0.4, 0.77, 1]) {
      const zeros = Math.floor(all.length * sparsity);
      const wanted = keepLargest(all.map(Math.abs), zeros);
      const got = await magnitudeGlobal(layers, { sparsity });
      expect(got.flatMap((one) => Array.from(one.mask.dataSync()))).toEqual(wanted);
      expect(got.reduce((sum, one) => sum + one.report.zeros, 0)).toBe(zeros);
      const blocking = magnitudeGlobalSync(layers, { sparsity });
      expect(blocking.flatMap((one) => Array.from(one.mask.dataSync()))).toEqual(wanted);
    }
  });

  test("a strided view, and the blocking twin", async () => {
    const layer = ar1Layer(8, 12, 0.8, 9);
    const transposed = matrix(
      layer.W[0]!.map((_, c) => layer.W.map((row) => row[c]!)),
      "float32",
      "cpu",
    );
    const a = magnitudeSync(transposed.transpose(), { sparsity: 0.3 });
    const b = await magnitude(matrix(layer.W, "float32", "cpu"), { sparsity: 0.3 });
    expect(a.weight.dataSync()).toEqual(await b.weight.data());
    expect(a.mask.dataSync()).toEqual(await b.mask.data());
  });
});

interface MediumCase {
  pattern: string;
  magnitude: number;
  wanda: number;
}
test.each(
  readVectors<{ prune_relative_error: MediumCase[] }>("medium.json").prune_relative_error.map(
    (one) => [one.pattern, one] as const,
  ),
)("the medium layer, %s", async (pattern, wanted) => {
  const layer = mediumLayer();
  const target = pattern.includes(":") ? { pattern } : { sparsity: parseInt(pattern) / 100 };
  const got = await wanda(matrix(layer.W, "float32", "cpu"), matrix(layer.H, "float64", "cpu"), {
    ...target,
    report: "full",
  });
  expect(got.report.relativeError).toBeCloseTo(wanted.wanda, 9);
  expect(got.report.magnitudeRelativeError).toBeCloseTo(wanted.magnitude, 9);
});
