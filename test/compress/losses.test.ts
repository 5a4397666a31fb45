import { gradcheck } from "../../lib/autodiff/index.js";
import { robustLoss } from "../../lib/compress/index.js";
import { distillationLoss } from "../../lib/nn/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { normal } from "../helpers/gptq-oracle.js";

const [rows, classes] = [4, 3];
const draw = normal(1);
const table = () =>
  Array.from({ length: rows }, () => Array.from({ length: classes }, () => 2 * draw()));
const [a, b] = [table(), table()];
const y = [0, 2, 1, 2];
const float64 = (x: number[][]) => Tensor.from(Float64Array.from(x.flat()), [rows, classes]);
const targets = Tensor.from(Int32Array.from(y));
const probabilities = (row: readonly number[], T = 1) => {
  const e = row.map((x) => Math.exp(x / T));
  const total = e.reduce((s, x) => s + x, 0);
  return e.map((x) => x / total);
};
const kl = (p: readonly number[], q: readonly number[]) =>
  p.reduce((s, value, i) => s + value * Math.log(value / q[i]!), 0);
const mean = (list: readonly number[]) => list.reduce((s, x) => s + x, 0) / list.length;
const crossEntropy = (x: number[][]) =>
  mean(x.map((row, i) => -Math.log(probabilities(row)[y[i]!]!)));
const near = (loss: Tensor, wanted: number) => {
  expect(loss.size).toBe(1);
  expect(Math.abs(Number(loss.dataSync()[0]) - wanted)).toBeLessThan(1e-12 * Math.abs(wanted));
};

test("distillation: the divergence from the teacher, and a share of the targets", () => {
  const soft = (T: number) =>
    T * T * mean(a.map((row, i) => kl(probabilities(b[i]!, T), probabilities(row, T))));
  near(distillationLoss(float64(a), float64(b)), soft(2));
  near(distillationLoss(float64(a), float64(b), { temperature: 5.5 }), soft(5.5));
  const options = { hardness: 0.3, temperature: 3, targets };
  near(distillationLoss(float64(a), float64(b), options), 0.3 * soft(3) + 0.7 * crossEntropy(a));
  near(distillationLoss(float64(a), float64(b), { hardness: 0, targets }), crossEntropy(a));
  const same = distillationLoss(float64(a), float64(a));
  expect(Math.abs(Number(same.dataSync()[0]))).toBeLessThan(1e-14);
});

test("the robust loss: margin to the best wrong class, drift where the model doubts", () => {
  const wanted = (beta: number) =>
    crossEntropy(a) +
    mean(
      a.map((row, i) => {
        const p = probabilities(row);
        const wrong = Math.max(...p.filter((_, c) => c !== y[i]));
        const natural = probabilities(b[i]!);
        return -Math.log(1.0001 - wrong) + beta * kl(natural, p) * (1.0000001 - natural[y[i]!]!);
      }),
    );
  near(robustLoss(float64(a), float64(b), targets), wanted(0.5));
  near(robustLoss(float64(a), float64(b), targets, { beta: 2 }), wanted(2));
});

test("derivatives of both by central differences", () => {
  const [student, teacher, natural] = [float64(a), float64(b), float64(b)];
  const distilled = () => distillationLoss(student, teacher, { hardness: 0.5, targets });
  const robust = () => robustLoss(student, natural, targets);
  expect(gradcheck(distilled, [student]).failures).toEqual([]);
  expect(gradcheck(robust, [student, natural]).failures).toEqual([]);
});

test("bad input", () => {
  const [x, z] = [float64(a), float64(b)];
  const fails = (run: () => unknown, code: string) => {
    expect(run).toThrow(expect.objectContaining({ code }));
  };
  fails(() => distillationLoss(x, z, { hardness: 0.5 }), "ARGUMENT");
  fails(() => distillationLoss(x, z, { hardness: 1.5 }), "ARGUMENT");
  fails(() => distillationLoss(x, z, { temperature: 0 }), "ARGUMENT");
  fails(() => distillationLoss(x, z.slice(0, 0, 2)), "SHAPE");
  fails(() => robustLoss(x, z.slice(0, 0, 2), targets), "SHAPE");
  fails(() => robustLoss(x, z, targets.slice(0, 0, 2)), "SHAPE");
  fails(() => robustLoss(x.slice(1, 0, 1), z.slice(1, 0, 1), targets), "SHAPE");
  fails(() => robustLoss(x, z, targets, { beta: -1 }), "ARGUMENT");
});
