import { promises as fs } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { concat, matmul, mul, reshape, scale, sum } from "../../../lib/autodiff/index.js";
import { memoryStats } from "../../../lib/binding/index.js";
import { allocateBits, layerSensitivities } from "../../../lib/compress/index.js";
import { meanAndDeviation } from "../../../lib/compress/mixed/layer-curvature.js";
import { scope, Tensor } from "../../../lib/tensor/index.js";
import { readVectors } from "../../helpers/vectors.js";

const { qbert } = readVectors<{
  qbert: { eigs: number[]; mean: number; std_pop: number; omega_pop: number }[];
}>("hawq.json");

/** Rows whose 4-bit scales are powers of two: 7.5 steps is the largest weight, and 2^-k is exact in float16. */
const first = [7.5, 0.3, -1.2, 2.6].map((w) => w / 4);
const second = [-3.4, 7.5, 0, 1.1].map((w) => w / 8);
/** Squared rounding errors in steps: 7.5 becomes 7. */
const errorsFirst = (0.5 ** 2 + 0.3 ** 2 + 0.2 ** 2 + 0.4 ** 2) / 16;
const errorsSecond = (0.4 ** 2 + 0.5 ** 2 + 0.1 ** 2) / 64;

const newLayers = () => [
  { name: "a", tensor: Tensor.from(Float32Array.from(first), [1, 4]) },
  { name: "b", tensor: Tensor.from(Float32Array.from(second), [1, 1, 2, 2]) },
];

/** w^T A w / 2 over both layers: the blocks have the diagonals given, `coupling` stands between them. */
function quadratic(diagonal: readonly number[], coupling = 0, layers = newLayers()) {
  const entries = Float32Array.from({ length: 64 }, (_, at) => {
    const [i, j] = [Math.floor(at / 8), at % 8];
    return i === j ? (diagonal[i] ?? 0) : i < 4 !== j < 4 ? coupling : 0;
  });
  const A = Tensor.from(entries, [8, 8]);
  const loss = () =>
    scope(() => {
      const w = concat(layers.map(({ tensor }) => reshape(tensor, [tensor.size])));
      const column = reshape(w, [8, 1]);
      return scale(sum(mul(matmul(A, column), column)), 0.5);
    });
  return { layers, loss };
}

const blocks = [5, 1, -2, 0.5, 1, -7, 1, 1];

test("hawq-v2: the average trace of each block times what rounding does to it", async () => {
  const { layers, loss } = quadratic(blocks);
  const found = await layerSensitivities(loss, layers, { bits: [4], samples: 1 });
  const [a, b] = found.layers;
  expect(a).toMatchObject({ name: "a", weights: 4, curvature: 4.5 / 4 });
  expect(b).toMatchObject({ name: "b", weights: 4, curvature: -1 });
  // float32 weights and products: a few units of 2^-24.
  expect(a?.choices[0]?.perturbation).toBeCloseTo(errorsFirst, 7);
  expect(b?.choices[0]?.perturbation).toBeCloseTo(errorsSecond, 7);
  expect(a?.choices[0]?.cost).toBeCloseTo((4.5 / 4) * errorsFirst, 7);
  expect(found.warnings).toEqual([expect.stringMatching(/^b: curvature -1.00 is negative/)]);
  expect(b?.choices[0]?.cost).toBeGreaterThan(0);
});

test("hawq: the top eigenvalue of each block alone, of either sign", async () => {
  const { layers, loss } = quadratic(blocks, 3); // what is between the blocks is no part of them
  const found = await layerSensitivities(loss, layers, { method: "hawq", bits: [4, 8] });
  // Power iteration ends at a relative change of 1e-3 of the quotient.
  expect(found.layers[0]?.curvature).toBeCloseTo(5, 1);
  expect(found.layers[1]?.curvature).toBeCloseTo(-7, 1);
  expect(found.layers.map(({ converged }) => converged)).toEqual([true, true]);
  const [four, eight] = found.layers[1]?.choices ?? [];
  expect(four?.cost).toBeGreaterThan(50 * (eight?.cost ?? NaN)); // 16 times finer: about 256
  expect(allocateBits(found.layers, { averageBits: 6 }).averageBits).toBe(6);
});

test("q-bert: mean and deviation over batches; the vectors' numbers", async () => {
  for (const { eigs, mean, std_pop, omega_pop } of qbert) {
    const found = meanAndDeviation(eigs);
    expect(found.mean).toBeCloseTo(mean, 12);
    expect(found.deviation).toBeCloseTo(std_pop, 12);
    expect(Math.abs(found.mean) + found.deviation).toBeCloseTo(omega_pop, 12);
  }
  const layers = newLayers();
  const losses = [3, 5].map((top) => quadratic([top, 1, 0, 0, -top, 1, 0, 0], 0, layers).loss);
  const loss = (batch: number) => (losses[batch] ?? (() => Tensor.from([NaN])))();
  const found = await layerSensitivities(loss, layers, { method: "q-bert", bits: [4], batches: 2 });
  for (const [i, sign] of [1, -1].entries()) {
    const layer = found.layers[i];
    expect(layer?.mean).toBeCloseTo(4 * sign, 1);
    expect(layer?.deviation).toBeCloseTo(1, 1);
    expect(layer?.curvature).toBeCloseTo(5, 1);
  }
});

test("rowGroups: one grid for neighbouring rows", async () => {
  const rows = [first, first.map((w) => w / 4), second, second.map((w) => w / 2), first];
  const tensor = Tensor.from(Float32Array.from(rows.flat()), [5, 4]);
  const loss = () => scope(() => scale(sum(mul(tensor, tensor)), 0.5));
  const measured = async (rowGroups: number) => {
    const options = { bits: [4] as const, samples: 1, rowGroups };
    const { layers } = await layerSensitivities(loss, [{ name: "w", tensor }], options);
    return layers[0]?.choices[0]?.perturbation ?? NaN;
  };
  /** Squared errors of rows that share a grid with the step given. */
  const errorsAt = (step: number, ...values: number[][]) =>
    values.flat().reduce((total, w) => {
      const code = Math.max(-8, Math.min(7, Math.round(w / step)));
      return total + (w - code * step) ** 2;
    }, 0);
  const [r0 = [], r1 = [], r2 = [], r3 = [], r4 = []] = rows;
  expect(await measured(5)).toBeCloseTo(
    errorsAt(1 / 4, r0) +
      errorsAt(1 / 16, r1) +
      errorsAt(1 / 8, r2) +
      errorsAt(1 / 16, r3) +
      errorsAt(1 / 4, r4),
    6,
  );
  expect(await measured(3)).toBeCloseTo(
    errorsAt(1 / 4, r0, r1) + errorsAt(1 / 8, r2, r3) + errorsAt(1 / 4, r4), // the last has one row
    6,
  );
  expect(await measured(1)).toBeCloseTo(errorsAt(1 / 4, ...rows), 6);
  expect(await measured(99)).toBe(await measured(5));
});

test("the cache answers for the same weights, options and key, and for nothing else", async () => {
  const folder = await fs.mkdtemp(join(tmpdir(), "osculate-"));
  const path = join(folder, "sensitivities.json");
  const { layers, loss } = quadratic(blocks);
  let calls = 0;
  const counted = () => (calls++, loss());
  const ask = (key = "digits", bits: readonly (4 | 8)[] = [4]) =>
    layerSensitivities(counted, layers, { bits, samples: 1, cache: { path, key } });
  const fresh = await ask();
  expect(calls).toBeGreaterThan(0);
  calls = 0;
  const again = await ask();
  expect([calls, fresh.cached, again.cached]).toEqual([0, false, true]);
  expect(again.layers).toEqual(fresh.layers);
  expect(again.warnings).toEqual(fresh.warnings);
  expect((await ask("others")).cached).toBe(false);
  expect((await ask("others", [8])).cached).toBe(false);
  const [a] = layers;
  if (a) layers[0] = { ...a, tensor: Tensor.from(Float32Array.from([1, 2, 3, 4]), [1, 4]) };
  expect((await ask("others", [8])).cached).toBe(false);

  await fs.writeFile(path, '{"mine": 1}');
  await expect(ask()).rejects.toThrow("it is something else");
  expect(await fs.readFile(path, "utf8")).toBe('{"mine": 1}');
  await fs.rm(folder, { recursive: true });
});

test("what is not finite is an error; nothing leaks", async () => {
  const { layers, loss } = quadratic(blocks);
  const before = memoryStats().liveBlocks;
  for (const method of ["hawq", "hawq-v2"] as const) {
    await layerSensitivities(loss, layers, { method, bits: [2, 4], samples: 2 });
    const nan = () => scope(() => scale(loss(), NaN));
    await expect(layerSensitivities(nan, layers, { method, samples: 1 })).rejects.toMatchObject({
      code: "NON_FINITE",
    });
  }
  using bad = Tensor.from([1, NaN, 2, 3], [2, 2]);
  await expect(layerSensitivities(loss, [{ name: "bad", tensor: bad }])).rejects.toThrow(
    "bad has 1 NaN",
  );
  bad.dispose();
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
});

const { layers, loss } = quadratic(blocks);
test.each<[string, () => Promise<unknown>, string]>([
  ["no layer", () => layerSensitivities(loss, []), "at least one parameter"],
  ["a method", () => layerSensitivities(loss, layers, { method: "x" as "hawq" }), '"hawq-v2"'],
  [
    "one batch for a deviation",
    () => layerSensitivities(loss, layers, { method: "q-bert" }),
    "2 or more",
  ],
  [
    "two kinds of groups",
    () => layerSensitivities(loss, layers, { groupSize: 8, rowGroups: 2 }),
    "both",
  ],
  ["5 bits", () => layerSensitivities(loss, layers, { bits: [5 as 4] }), "2, 3, 4 or 8"],
  ["no bits", () => layerSensitivities(loss, layers, { bits: [] }), "at least one width"],
  [
    "a bias",
    () => layerSensitivities(loss, [{ name: "bias", tensor: Tensor.from([1, 2]) }]),
    "two or more dimensions for bias",
  ],
  [
    "an aborted signal",
    () => layerSensitivities(loss, layers, { samples: 1, bits: [4], signal: AbortSignal.abort() }),
    "abort",
  ],
])("refused: %s", async (_, call, message) => {
  await expect(call()).rejects.toThrow(message);
});
