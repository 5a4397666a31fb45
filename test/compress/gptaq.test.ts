import { gptaq, gptaqSync, gptq } from "../../lib/compress/index.js";
import { crossGram, inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { ar1Layer, matrix, normal } from "../helpers/gptq-oracle.js";
import { nested } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  W: number[][];
  X_fp: number[][];
  X_q: number[][];
  H: number[][];
  dXXT: number[][];
  cases: { alpha: number; codes: number[][]; scales: number[]; err_true_output: number }[];
  tail_case: { alpha: number; codes: number[][]; err_true_output: number };
}
const vectors = readVectors<Vectors>("gptaq.json");
const W = (rows: number[][]) => matrix(rows, "float32", "cpu");
const H = (rows: number[][]) => matrix(rows, "float64", "cpu");
const transpose = (rows: number[][]) => rows[0]!.map((_, t) => rows.map((row) => row[t]!));
const perRow = { groupSize: -1, sym: false, scaleDtype: "float32" } as const;

/** 2/N ||Q X - W X_fp||^2. */
function trueError(weight: number[][]): number {
  const { X_q, X_fp } = vectors;
  const count = X_q[0]!.length;
  let sum = 0;
  weight.forEach((row, r) => {
    for (let t = 0; t < count; ++t) {
      const d = row.reduce((s, q, j) => s + q * X_q[j]![t]! - vectors.W[r]![j]! * X_fp[j]![t]!, 0);
      sum += (2 / count) * d * d;
    }
  });
  return sum;
}

test.each(vectors.cases.map((one) => [one.alpha, one] as const))(
  "the codes of the file, alpha %p",
  async (alpha, one) => {
    for (const blockSize of [1, 3, 4, 128]) {
      const options = { ...perRow, bits: 4, alpha, blockSize, report: "full" } as const;
      const q = await gptaq(W(vectors.W), H(vectors.H), H(vectors.dXXT), options);
      expect(nested(q.codes, 8)).toEqual(one.codes);
      const error = trueError(nested(q.dequantize().dataSync(), 8));
      expect(Math.abs(error - one.err_true_output)).toBeLessThan(1e-5 * one.err_true_output);
    }
  },
);

test("8 bits, where updates by rounded columns would give another code", async () => {
  const one = vectors.tail_case;
  for (const blockSize of [4, 128]) {
    const options = { ...perRow, bits: 8, alpha: one.alpha, blockSize } as const;
    const q = await gptaq(W(vectors.W), H(vectors.H), H(vectors.dXXT), options);
    expect(nested(q.codes, 8)).toEqual(one.codes);
  }
});

test("the report: outputError differs from the true error by the same constant for every choice", async () => {
  const base = nested(W(vectors.W).dataSync(), 8);
  const reference = base.reduce(
    (sum, row) =>
      sum +
      row.reduce((s, a, i) => s + row.reduce((t, b, j) => t + a * vectors.H[i]![j]! * b, 0), 0),
    0,
  );
  const constants = [];
  for (const alpha of [0, 0.25, 1]) {
    const options = { ...perRow, bits: 4, alpha, report: "full" } as const;
    const q = await gptaq(W(vectors.W), H(vectors.H), H(vectors.dXXT), options);
    constants.push(
      trueError(nested(q.dequantize().dataSync(), 8)) / reference - q.report.outputError!,
    );
    expect(q.report).toMatchObject({ method: "gptaq", rows: "full" });
    if (alpha === 1) expect(q.report.outputError).toBeLessThan(q.report.rtnOutputError!);
  }
  const [first] = constants;
  for (const constant of constants) expect(Math.abs(constant - first!)).toBeLessThan(1e-5 * first!);
});

describe("grams of both streams", () => {
  const tokens = (rows: number[][]) => W(transpose(rows));

  test("give the matrices of the file", async () => {
    const [gram, cross] = [inputGram(8), crossGram(8)];
    await gram.add(tokens(vectors.X_q));
    await cross.add(tokens(vectors.X_q), tokens(vectors.X_fp));
    const options = { ...perRow, bits: 4, alpha: 1 } as const;
    const q = await gptaq(W(vectors.W), gram, cross, options);
    expect(nested(q.codes, 8)).toEqual(vectors.cases.find((one) => one.alpha === 1)!.codes);
    expect(q.report.tokens).toBe(12);
    expect(gptaqSync(W(vectors.W), gram, cross, options).codes).toEqual(q.codes);
  });

  test("of other tokens or features are refused", async () => {
    const [gram, cross] = [inputGram(8), crossGram(8)];
    await gram.add(tokens(vectors.X_q));
    await expect(gptaq(W(vectors.W), gram, cross)).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringContaining("12 tokens") as string,
    });
    await expect(gptaq(W(vectors.W), gram, crossGram(3))).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(gptaq(W(vectors.W), gram, Tensor.zeros([3, 3]))).rejects.toMatchObject({
      code: "SHAPE",
    });
  });
});

test("equal inputs give the codes of gptq, with groups and act-order too", async () => {
  const layer = ar1Layer(67, 40, 0.8, 3);
  const none = Tensor.zeros([40, 40]);
  for (const options of [{}, { groupSize: 16 }, { groupSize: 8, descAct: true }] as const) {
    const q = await gptaq(W(layer.W), H(layer.H), none, { ...options, alpha: 1 });
    expect(q.codes).toEqual((await gptq(W(layer.W), H(layer.H), options)).codes);
  }
});

test("groups, act-order and more than a block: less error in the outputs than gptq, whatever the block", async () => {
  const layer = ar1Layer(24, 96, 0.8, 5);
  const draw = normal(9);
  const noise = layer.H.map((row) => row.map(() => 0.02 * draw()));
  const cross = layer.H.map((row, i) => row.map((h, j) => -0.1 * h + noise[i]![j]!));
  for (const settings of [{ groupSize: 32 }, { groupSize: 24, descAct: true }, { groupSize: -1 }]) {
    const options = { ...settings, bits: 3, sym: false, report: "full" } as const;
    const wanted = await gptaq(W(layer.W), H(layer.H), H(cross), { ...options, alpha: 1 });
    const plain = await gptaq(W(layer.W), H(layer.H), H(cross), { ...options, alpha: 0 });
    expect(wanted.report.outputError).toBeLessThan(plain.report.outputError!);
    const blocks = { ...options, alpha: 1, blockSize: 24 };
    const same = await gptaq(W(layer.W), H(layer.H), H(cross), blocks);
    const equal = same.codes.filter((code, i) => code === wanted.codes[i]).length;
    expect(equal / same.codes.length).toBeGreaterThan(0.998);
  }
});

test("NaN in the cross matrix, and a wrong alpha", async () => {
  const layer = ar1Layer(3, 4, 0.5, 1);
  const bad = H(layer.H.map((row) => row.map(() => NaN)));
  await expect(gptaq(W(layer.W), H(layer.H), bad)).rejects.toMatchObject({ code: "NON_FINITE" });
  await expect(gptaq(W(layer.W), H(layer.H), H(layer.H), { alpha: 1.5 })).rejects.toMatchObject({
    code: "ARGUMENT",
    message: expect.stringContaining("alpha") as string,
  });
});
