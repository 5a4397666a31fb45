import { scale } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { hutchinsonDiagonal, hutchinsonTrace } from "../../lib/curvature/index.js";
import { RunningMean, stoppingTest, studentQuantile } from "../../lib/curvature/estimate.js";
import { quadratic } from "../helpers/quadratic.js";
import { readVectors } from "../helpers/vectors.js";
import { settledMemory } from "../helpers/live-memory.js";

const { matrix, trace, hutchinson_variance } = readVectors<{
  matrix: number[][];
  trace: number;
  hutchinson_variance: number;
}>("hawq.json");
const diagonalMatrix = [1, -2, 3, 4].map((h, i) =>
  Array.from({ length: 4 }, (_, j) => (i === j ? h : 0)),
);

test("quantiles of Student's t agree with tables", () => {
  for (const [p, freedom, quantile] of [
    [0.975, 7, 2.364624],
    [0.975, 9, 2.262157],
    [0.95, 29, 1.699127],
    [0.995, 30, 2.749996],
    [0.975, 1e9, 1.959964],
    [0.025, 1e9, -1.959964],
  ] as const) {
    expect(Math.abs(studentQuantile(p, freedom) / quantile - 1)).toBeLessThan(5e-3);
  }
});

test("a running mean has the mean and the standard error of its numbers", () => {
  const running = new RunningMean();
  for (const x of [1e9 + 1, 1e9 + 2, 1e9 + 6]) running.add(x);
  expect(running.mean).toBe(1e9 + 3);
  expect(running.standardError).toBeCloseTo(Math.sqrt(7 / 3), 6);
  expect(new RunningMean().standardError).toBeNaN();
});

test("a diagonal Hessian is exact in one sample, block by block", async () => {
  const { params, loss } = quadratic(diagonalMatrix, [1, 2, 1]);
  const found = await hutchinsonDiagonal(loss, params, { samples: 1 });
  expect(found.value).toBe(6);
  expect(found.standardError).toBeNaN();
  expect(found.diagonals.map((d) => Array.from(d.dataSync() as Float32Array))).toEqual([
    [1],
    [-2, 3],
    [4],
  ]);
  expect(found.parameters).toMatchObject([
    { name: "layer0.weight", size: 1, value: 1 },
    { name: "layer0.bias", size: 2, value: 1 },
    { name: "layer1.weight", size: 1, value: 4 },
  ]);
  expect([
    found.module("layer0").value,
    found.module("layer1").value,
    found.module("layer").value,
  ]).toEqual([2, 4, 0]);
  found.dispose();
});

test("trace and standard error agree with the matrix and the formula of the variance", async () => {
  const { params, loss } = quadratic(matrix, [2, 2, 1]);
  const samples = 2000;
  const found = await hutchinsonTrace(loss, params, { samples, seed: 3 });
  const expected = Math.sqrt(hutchinson_variance / samples);
  expect(found.samples).toBe(samples);
  expect(Math.abs(found.value - trace)).toBeLessThan(5 * expected);
  expect(found.standardError / expected).toBeGreaterThan(0.9);
  expect(found.standardError / expected).toBeLessThan(1.1);
  // The blocks of the parameters: diagonal sums 7, -1 and 0.5; the last block has one element and no noise of its own block,
  // but that of its row.
  const blocks = [7, -1, 0.5];
  found.parameters.forEach(({ value, standardError }, i) => {
    expect(Math.abs(value - (blocks[i] ?? NaN))).toBeLessThan(5 * standardError);
  });
});

test("each element of the diagonal is within its standard error, which is the formula's", async () => {
  const { params, loss } = quadratic(matrix, [3, 2]);
  const samples = 4096;
  const found = await hutchinsonDiagonal(loss, params, { samples, seed: 1 });
  const diagonal = found.diagonals.flatMap((d) => Array.from(d.dataSync() as Float32Array));
  const errors = found.standardErrors.flatMap((d) => Array.from(d.dataSync() as Float32Array));
  matrix.forEach((row, i) => {
    const variance = row.reduce((sum, h, j) => (i === j ? sum : sum + h * h), 0);
    const expected = Math.sqrt(variance / samples);
    expect(Math.abs((diagonal[i] ?? NaN) - (row[i] ?? NaN))).toBeLessThanOrEqual(5 * expected);
    expect(Math.abs((errors[i] ?? NaN) / expected - 1)).toBeLessThan(0.1);
  });
  found.dispose();
});

test("batches are averaged", async () => {
  const { params, loss } = quadratic(diagonalMatrix, [4]);
  const found = await hutchinsonTrace((k) => scale(loss(), [1, 2, 6][k] ?? NaN), params, {
    samples: 1,
    batches: 3,
  });
  expect(found.value).toBeCloseTo(18, 5);
});

test("the rule stops when the interval is narrow enough, and not before", async () => {
  const { params, loss } = quadratic(matrix, [5]);
  const rule = { tolerance: 0.2, confidence: 0.9, samples: 5000 };
  const found = await hutchinsonTrace(loss, params, rule);
  expect(found.samples).toBeGreaterThan(8);
  expect(found.samples).toBeLessThan(400);
  const quantile = studentQuantile(0.95, found.samples - 1);
  expect(quantile * found.standardError).toBeLessThanOrEqual(0.2 * Math.abs(found.value));
  const mean = new RunningMean();
  const enough = stoppingTest("t", { tolerance: 0.5 });
  for (let i = 0; i < 7; ++i) {
    mean.add(1);
    expect(enough(mean)).toBe(false);
  }
  mean.add(1);
  expect(enough(mean)).toBe(true);
});

test("the same seed gives the same bits, another one others", async () => {
  const estimate = async (seed: number) => {
    const { params, loss } = quadratic(matrix, [2, 3]);
    return (await hutchinsonTrace(loss, params, { samples: 5, seed })).value;
  };
  expect(await estimate(7)).toBe(await estimate(7));
  expect(await estimate(7)).not.toBe(await estimate(8));
});

test("bad input, aborts and errors free what was made", async () => {
  const { params, loss } = quadratic(matrix, [5]);
  const live = (await settledMemory()).liveBlocks;
  const cases: [object, string][] = [
    [{ samples: 0 }, "ARGUMENT"],
    [{ batches: 1.5 }, "ARGUMENT"],
    [{ tolerance: 0 }, "ARGUMENT"],
    [{ tolerance: 1, confidence: 1 }, "ARGUMENT"],
    [{ seed: -1 }, "ARGUMENT"],
    [{ signal: AbortSignal.abort() }, "ABORTED"],
  ];
  for (const [options, code] of cases)
    await expect(hutchinsonDiagonal(loss, params, options)).rejects.toMatchObject({ code });
  await expect(hutchinsonTrace(loss, [])).rejects.toMatchObject({ code: "ARGUMENT" });
  await expect(hutchinsonTrace(loss, 3 as never)).rejects.toMatchObject({ code: "ARGUMENT" });
  await expect(hutchinsonDiagonal(() => scale(loss(), Infinity), params)).rejects.toMatchObject({
    code: "NON_FINITE",
  });
  const failing = () => {
    throw new Error("from the loss");
  };
  await expect(hutchinsonDiagonal(failing, params)).rejects.toThrow("from the loss");
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(live);
});
