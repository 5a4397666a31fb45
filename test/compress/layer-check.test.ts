import { inputGram, type InputGram } from "../../lib/curvature/index.js";
import { makeCheck, recomputeError, weightDigest } from "../../lib/compress/layer-check.js";
import { Tensor } from "../../lib/tensor/index.js";
import { normal } from "../helpers/gptq-oracle.js";

const ROWS = 40;
const COLUMNS = 24;

/** Correlated activations, the last columns always zero. */
async function gramOf(seed: number, dead = 0): Promise<{ gram: InputGram; H: Float64Array }> {
  const draw = normal(seed);
  const tokens = 200;
  const X = new Float32Array(tokens * COLUMNS);
  for (let t = 0; t < tokens; t += 1) {
    let last = 0;
    for (let c = 0; c < COLUMNS - dead; c += 1) {
      last = 0.9 * last + draw();
      X[t * COLUMNS + c] = last;
    }
  }
  const gram = inputGram(COLUMNS);
  const tensor = Tensor.from(X, [tokens, COLUMNS]);
  await gram.add(tensor);
  tensor.dispose();
  const H = new Float64Array(COLUMNS ** 2);
  for (let t = 0; t < tokens; t += 1)
    for (let i = 0; i < COLUMNS; i += 1)
      for (let j = 0; j < COLUMNS; j += 1)
        H[i * COLUMNS + j]! += (2 / tokens) * X[t * COLUMNS + i]! * X[t * COLUMNS + j]!;
  return { gram, H };
}

/** tr(D H D^T) over rows. */
function quadratic(D: Float32Array, H: Float64Array, from = 0, rows = D.length / COLUMNS): number {
  let sum = 0;
  for (let r = from; r < from + rows; r += 1)
    for (let i = 0; i < COLUMNS; i += 1)
      for (let j = 0; j < COLUMNS; j += 1)
        sum += D[r * COLUMNS + i]! * H[i * COLUMNS + j]! * D[r * COLUMNS + j]!;
  return sum;
}

function weights(seed: number): { before: Float32Array; after: Float32Array; D: Float32Array } {
  const draw = normal(seed);
  const before = Float32Array.from({ length: ROWS * COLUMNS }, draw);
  const after = before.map((value) => value + 0.01 * draw());
  return { before, after, D: before.map((value, i) => value - after[i]!) };
}

test.each([0, 5])("the estimate is unbiased (%d dead columns)", async (dead) => {
  const shape = { rows: ROWS, columns: COLUMNS, groups: 1 };
  const ratios: number[] = [];
  for (let seed = 1; seed <= 24; seed += 1) {
    const { gram, H } = await gramOf(seed, dead);
    const { before, after, D } = weights(100 + seed);
    const energy = quadratic(before, H);
    const check = await makeCheck(shape, {
      before,
      after,
      grams: [gram],
      energyOf: () => Promise.resolve(energy),
      signal: undefined,
    });
    gram.dispose();
    expect(check.kind).toBe("activations");
    expect(recomputeError(check, shape, after)).toBe(check.error);
    ratios.push(check.error / (quadratic(D, H) / energy));
  }
  const mean = ratios.reduce((a, b) => a + b, 0) / ratios.length;
  const variance = ratios.reduce((a, b) => a + (b - mean) ** 2, 0) / (ratios.length - 1);
  // Unbiased within three standard errors, and not by being useless.
  expect(Math.abs(mean - 1)).toBeLessThan(3 * Math.sqrt(variance / ratios.length) + 0.01);
  expect(Math.sqrt(variance)).toBeLessThan(0.5);
});

test("one changed weight changes digest and estimate", async () => {
  const shape = { rows: ROWS, columns: COLUMNS, groups: 1 };
  const { gram, H } = await gramOf(1);
  const { before, after } = weights(2);
  const energyOf = () => Promise.resolve(quadratic(before, H));
  const check = await makeCheck(shape, {
    before,
    after,
    grams: [gram],
    energyOf,
    signal: undefined,
  });
  gram.dispose();
  const changed = after.slice();
  changed[17 * COLUMNS + 3]! += 0.05;
  expect(await weightDigest(changed)).not.toBe(check.weights_sha256);
  expect(recomputeError(check, shape, changed)).not.toBe(check.error);
});

test("groups have matrices of their own", async () => {
  const shape = { rows: ROWS, columns: COLUMNS, groups: 2 };
  const [a, b] = [await gramOf(1), await gramOf(2)];
  const { before, after, D } = weights(3);
  const half = ROWS / 2;
  const energyOf = (group: number) =>
    Promise.resolve(quadratic(before, group === 0 ? a.H : b.H, group * half, half));
  const check = await makeCheck(shape, {
    before,
    after,
    grams: [a.gram, b.gram],
    energyOf,
    signal: undefined,
  });
  const exact =
    (quadratic(D, a.H, 0, half) + quadratic(D, b.H, half, half)) /
    ((await energyOf(0)) + (await energyOf(1)));
  expect(check.groups).toEqual([0, 1]);
  expect(Math.abs(Math.log(check.error / exact))).toBeLessThan(0.7);
  a.gram.dispose();
  b.gram.dispose();
});

test("without data it is an estimate of the weight error", async () => {
  const shape = { rows: ROWS, columns: COLUMNS, groups: 1 };
  const { before, after, D } = weights(4);
  const energyOf = () => Promise.resolve(0);
  const check = await makeCheck(shape, {
    before,
    after,
    grams: undefined,
    energyOf,
    signal: undefined,
  });
  const squares = (x: Float32Array) => x.reduce((sum, value) => sum + value ** 2, 0);
  expect(check).toMatchObject({ kind: "weights" });
  expect(check.inputs).toBeUndefined();
  expect(Math.abs(Math.log(check.error / (squares(D) / squares(before))))).toBeLessThan(0.3);
  expect(recomputeError(check, shape, after)).toBe(check.error);
});

test("a sketch of another shape or version is refused", async () => {
  const shape = { rows: ROWS, columns: COLUMNS, groups: 1 };
  const { before, after } = weights(4);
  const energyOf = () => Promise.resolve(0);
  const check = await makeCheck(shape, {
    before,
    after,
    grams: undefined,
    energyOf,
    signal: undefined,
  });
  expect(() => recomputeError({ ...check, probes: 8 }, shape, after)).toThrow("another version");
  expect(() => recomputeError({ ...check, outputs: "AAAA" }, shape, after)).toThrow("expected");
});
