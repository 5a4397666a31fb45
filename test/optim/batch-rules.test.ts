/** Learning rates from random matrix theory and from the spectrum: the specification's numbers, and what they promise. */
import { mul, square, sum } from "../../lib/autodiff/index.js";
import { eighSync } from "../../lib/linalg/index.js";
import {
  batchOutlier,
  noiseFromBatches,
  ratesBetween,
  scaledLearningRate,
  SGD,
  spectralRates,
} from "../../lib/optim/index.js";
import { randomNormal } from "../../lib/ops/random.js";
import { Tensor } from "../../lib/tensor/index.js";

const setting = { outlier: 10, noise: 100, samples: 50_000 };

test.each([
  [1, 19.9998],
  [8, 11.2498],
  [32, 10.3123],
  [128, 10.077925],
  [512, 10.01933125],
  [4096, 10.00224141],
])("the outlier of batches of %i", (batch, wanted) => {
  expect(Math.abs(batchOutlier(batch, setting) / wanted - 1)).toBeLessThan(1e-8);
});

test("the whole data has no noise; below the noise the edge of it is what is seen", () => {
  expect(batchOutlier(50_000, setting)).toBe(10);
  expect(batchOutlier(4, { outlier: 1, noise: 100 })).toBe(10);
  const two = [8, 512].map((batch) => ({ batch, outlier: batchOutlier(batch, setting) }));
  expect(noiseFromBatches(10, [two[0]!, two[1]!], 50_000)).toBeCloseTo(100, 8);
});

test("a rank-one spike in a symmetric random matrix: 3 becomes 10/3, 1/2 stays in the noise", () => {
  // Variance of an entry noise / n over b = 1: the edge is 2. n = 300: fluctuations of some n^(-1/2).
  const n = 300;
  const draws = randomNormal([n, n], { seed: 7 }).dataSync();
  const top = (spike: number) => {
    const matrix = Float64Array.from({ length: n * n }, (_, k) => {
      const [i, j] = [Math.floor(k / n), k % n];
      const wigner = (draws[i * n + j]! + draws[j * n + i]!) / Math.sqrt(2 * n);
      return wigner + spike / n;
    });
    const { values } = eighSync(Tensor.from(matrix, [n, n], { dtype: "float64" }));
    return Number(values.dataSync().at(-1));
  };
  const wanted = (outlier: number) => batchOutlier(1, { outlier, noise: 1 });
  expect(Math.abs(top(3) - wanted(3))).toBeLessThan(0.25);
  expect(Math.abs(top(0.5) - wanted(0.5))).toBeLessThan(0.12);
});

test("scaling from one batch size to another", () => {
  const sgd = { kind: "sgd", ...setting } as const;
  expect(scaledLearningRate(0.1, [1, 8], sgd)).toBeCloseTo((0.1 * 19.9998) / 11.2498, 10);
  // Small batches of a spike that the noise hides: the square root of the ratio.
  const hidden = { kind: "sgd", outlier: 1, noise: 1e6 } as const;
  expect(scaledLearningRate(0.1, [4, 64], hidden)).toBeCloseTo(0.4, 12);
  expect(scaledLearningRate(0.1, [16, 64], { kind: "adam" })).toBeCloseTo(0.2, 12);
  const level = { kind: "adam", saturation: 32 } as const;
  expect(scaledLearningRate(0.1, [8, 512], level)).toBeCloseTo(0.2, 12);
});

test("rates for curvatures from 0.1 to 10", () => {
  const { rate, momentum, plainRate } = ratesBetween(0.1, 10);
  expect(rate).toBeCloseTo(0.33057851, 8);
  expect(momentum).toBeCloseTo(0.66942149, 8);
  expect(plainRate).toBeCloseTo(0.1980198, 8);
  expect(ratesBetween(1e-9, 1).momentum).toBe(0.99);
});

/** 99 curvatures of 0.1 and one of 10. */
function bowl() {
  const curvatures = Float32Array.from({ length: 100 }, (_, i) => (i === 37 ? 10 : 0.1));
  const half = Tensor.from(curvatures.map((c) => c / 2));
  const w = { name: "w", tensor: Tensor.from(new Float32Array(100).fill(1)) };
  return { w, loss: () => sum(mul(half, square(w.tensor))) };
}

test("from a spectrum: the numbers for it, and heavy ball converges at the rate they promise", async () => {
  const { w, loss } = bowl();
  const found = await spectralRates(loss, [w], { probes: 2 });
  expect(Math.abs(found.largest - 10)).toBeLessThan(1e-4);
  expect(Math.abs(found.low - 0.1)).toBeLessThan(1e-5);
  expect(found.negativeWeight).toBe(0);
  expect(Math.abs(found.rate - 0.33057851)).toBeLessThan(1e-5);
  expect(Math.abs(found.momentum - 0.66942149)).toBeLessThan(1e-5);
  using optimizer = new SGD([w], { lr: found.rate, momentum: found.momentum });
  let last = 0;
  for (let t = 0; t < 60; ++t) last = (await optimizer.step(loss)).loss;
  // At both ends the recurrence has a double root, -r and r, r = sqrt(momentum): x_t = (1 + b t) (-+r)^t from x_0 = 1 and x_1 = 1 -
  // rate * curvature. The loss of step 60 is at x_59.
  const r = Math.sqrt(found.momentum);
  const at = (x1: number, root: number) => ((1 + (x1 / root - 1) * 59) * root ** 59) ** 2;
  const wanted = 5 * at(1 - 10 * found.rate, -r) + 4.95 * at(1 - 0.1 * found.rate, r);
  expect(Math.abs(last / wanted - 1)).toBeLessThan(0.05);
});

test("on the edge of stability: just below it goes down, just above up", async () => {
  for (const [factor, down] of [
    [1.99, true],
    [2.01, false],
  ] as const) {
    const { w, loss } = bowl();
    const { largest } = await spectralRates(loss, [w]);
    using optimizer = new SGD([w], { lr: factor / largest, momentum: 0 });
    let last = 0;
    for (let t = 0; t < 300; ++t) last = (await optimizer.step(loss)).loss;
    expect(last < 4.95).toBe(down);
  }
});

test("what they refuse", async () => {
  expect(() => batchOutlier(0, setting)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  expect(() => batchOutlier(60_000, setting)).toThrow(/batch/);
  expect(() => batchOutlier(1, { outlier: 0, noise: 1 })).toThrow(/outlier/);
  expect(() => ratesBetween(0, 1)).toThrow(/low/);
  expect(() => ratesBetween(2, 1)).toThrow(/largest/);
  expect(() => scaledLearningRate(-1, [1, 2], { kind: "adam" })).toThrow(/rate/);
  const { w } = bowl();
  const hill = () => mul(sum(square(w.tensor)), -1);
  await expect(spectralRates(hill, [w])).rejects.toMatchObject({ code: "ARGUMENT" });
  await expect(spectralRates(hill, [w], { probes: 0 })).rejects.toMatchObject({ code: "ARGUMENT" });
});
