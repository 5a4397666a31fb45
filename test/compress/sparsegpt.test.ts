import { sparsegpt } from "../../lib/compress/index.js";
import { inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { ar1Layer, matrix } from "../helpers/gptq-oracle.js";
import { mediumLayer } from "../helpers/medium-layer.js";
import { readVectors } from "../helpers/vectors.js";

const W = (rows: number[][]) => matrix(rows, "float32", "cpu");
const H = (rows: number[][]) => matrix(rows, "float64", "cpu");

interface MediumCase {
  pattern: string;
  sparsegpt: number;
  sparsegpt_zeros: number;
}
test.each(
  readVectors<{ prune_relative_error: MediumCase[] }>("medium.json").prune_relative_error.map(
    (one) => [one.pattern, one] as const,
  ),
)("the medium layer, %s, by the published count", async (pattern, wanted) => {
  const layer = mediumLayer();
  const target = pattern.includes(":") ? { pattern } : { sparsity: parseInt(pattern) / 100 };
  const options = { ...target, exactCount: false, report: "full" } as const;
  const { report } = await sparsegpt(W(layer.W), H(layer.H), options);
  expect(report.zeros).toBe(wanted.sparsegpt_zeros);
  expect(Math.abs(report.relativeError! - wanted.sparsegpt)).toBeLessThan(1e-4 * wanted.sparsegpt);
});

test("the loss is split between pruning and rounding; codes stand for the weight", async () => {
  const layer = ar1Layer(20, 48, 0.8, 2);
  const options = { sparsity: 0.5, quantize: { bits: 4, groupSize: 16 } } as const;
  const got = await sparsegpt(W(layer.W), H(layer.H), options);
  const { codes, scales, zeros, groupIndex, groups, inFeatures } = got.quantized!;
  expect([groups, inFeatures, got.quantized!.sym]).toEqual([3, 48, true]);
  const weight = got.weight.dataSync();
  codes.forEach((code, i) => {
    const at = groupIndex[i % 48]! * 20 + Math.floor(i / 48);
    expect(weight[i]).toBe(Math.fround(scales[at]! * (code - zeros[at]!)));
  });
  const { loss, pruningLoss } = got.report;
  const pruned = await sparsegpt(W(layer.W), H(layer.H), { sparsity: 0.5 });
  const rounded = await sparsegpt(W(layer.W), H(layer.H), { ...options, sparsity: 0 });
  expect(pruned.report.pruningLoss).toBe(pruned.report.loss);
  expect(rounded.report.pruningLoss).toBe(0);
  // Each cause costs about what it costs alone.
  const ratios = [
    pruningLoss! / pruned.report.loss!,
    (loss! - pruningLoss!) / rounded.report.loss!,
  ];
  for (const ratio of ratios) expect(Math.abs(Math.log2(ratio))).toBeLessThan(1);
  expect(got.report.relativeError).toBeLessThan(got.report.magnitudeRelativeError!);
});

describe("a matrix that does not work", () => {
  const hopeless = [
    [1, 5],
    [5, 1],
  ];
  test("raised damping is in the report; strict makes it an error", async () => {
    const slightly = [
      [1, 1.02, 0],
      [1.02, 1, 0],
      [0, 0, 1],
    ];
    const options = { sparsity: 0.4, dampPercent: 0 };
    const got = await sparsegpt(W([[1, 2, 3]]), H(slightly), options);
    expect(got.report.attempts!.length).toBe(4);
    expect(got.report.warnings.join()).toMatch(/rescued by dampPercent 0.04/);
    await expect(
      sparsegpt(W([[1, 2, 3]]), H(slightly), { ...options, strict: true, name: "layer 5" }),
    ).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
      message: expect.stringContaining("layer 5") as string,
    });
  });

  test("magnitude only when asked for, and said so", async () => {
    const weight = () => W([[3, 1]]);
    const options = { sparsity: 0.5, onFailure: "magnitude" } as const;
    await expect(sparsegpt(weight(), H(hopeless), { sparsity: 0.5 })).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
    });
    for (const gram of [H(hopeless), inputGram(2)]) {
      const got = await sparsegpt(weight(), gram, options);
      expect(Array.from(got.weight.dataSync())).toEqual([3, 0]);
      expect(got.report.method).toBe("magnitude");
      expect(got.report.warnings[0]).toMatch(/by magnitude instead of sparsegpt/);
    }
    const joint = await sparsegpt(weight(), H(hopeless), {
      ...options,
      quantize: { bits: 8, sym: false },
    });
    expect(joint.quantized!.codes[1]).toBe(joint.quantized!.zeros[0]);
    const mask = Tensor.from(new Uint8Array([0, 1]), [1, 2], { dtype: "bool" });
    await expect(sparsegpt(weight(), H(hopeless), { ...options, mask })).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
    });
  });
});

test("a mask is kept while the weights that stay are updated and quantized", async () => {
  const layer = ar1Layer(12, 32, 0.8, 5);
  const first = await sparsegpt(W(layer.W), H(layer.H), { sparsity: 0.5 });
  const options = { sparsity: 0, mask: first.mask, quantize: { bits: 4 } } as const;
  const got = await sparsegpt(first.weight, H(layer.H), options);
  expect(got.mask.dataSync()).toEqual(first.mask.dataSync());
  expect(got.report.zeros).toBe(192);
  const wrong = Tensor.zeros([12, 31], { dtype: "bool" });
  await expect(
    sparsegpt(first.weight, H(layer.H), { ...options, mask: wrong }),
  ).rejects.toMatchObject({
    code: "SHAPE",
  });
});

test.each<[string, object]>([
  ["blockSize", { blockSize: 0 }],
  ["exactCount", { exactCount: 1 }],
  ["strict", { strict: "yes" }],
  ["onFailure", { onFailure: "rtn" }],
  ["dampPercent", { dampPercent: -1 }],
  ["bits", { quantize: { bits: 5 } }],
])("a wrong %s is an error that names it", async (name, wrong) => {
  const layer = ar1Layer(2, 4, 0.5, 1);
  await expect(
    sparsegpt(W(layer.W), H(layer.H), { sparsity: 0.5, ...wrong }),
  ).rejects.toMatchObject({ code: "ARGUMENT", message: expect.stringContaining(name) as string });
});
