import {
  cubicSparsity,
  geometricSparsities,
  mfac,
  mfacSync,
  obert,
  obertSync,
  rewoundLearningRate,
} from "../../lib/compress/index.js";
import { blockFisher } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { matrix, normal } from "../helpers/gptq-oracle.js";
import { answer } from "../helpers/obs-oracle.js";
import { readVectors } from "../helpers/vectors.js";

const W = (rows: number[][]) => matrix(rows, "float32", "cpu");
const close = (a: ArrayLike<number>, b: readonly number[], tolerance: number) => {
  expect(a.length).toBe(b.length);
  b.forEach((value, i) => {
    expect(Math.abs(a[i]! - value)).toBeLessThanOrEqual(tolerance);
  });
};
const flat = (results: { weight: Tensor<"float32"> }[]) =>
  results.flatMap(({ weight }) => Array.from(weight.dataSync()));
const masks = (results: { mask: Tensor<"bool"> }[]) =>
  results.flatMap(({ mask }) => Array.from(mask.dataSync()));

interface Pruning {
  damp: number;
  w: number[];
  pruned: number[];
  w_after_independent_updates: number[];
}
const mfacVectors = readVectors<{ grads: number[][]; pruning: Pruning }>("mfac.json");
interface Obert {
  grads: number[][];
  w: number[];
  block: number;
  damp: number;
  prune_6: number[];
  w_after: number[];
  group4_scores: number[];
  pair_groups: { weights: number[]; rho: number; delta_block: number[] }[];
}
const obertVectors = readVectors<Obert>("obert.json");

/** Two layers, 2 x 3 each, out of the 12 weights of the files. */
const split = (values: number[]) => [values.slice(0, 6), values.slice(6)];
const weights = (w: number[]) => split(w).map((part) => Tensor.from(part, [2, 3]));
const gradients = (rows: number[][]) =>
  [0, 1].map((i) =>
    Tensor.from(
      rows.flatMap((row) => split(row)[i]!),
      [rows.length, 2, 3],
    ),
  );

describe("mfac", () => {
  const { grads, pruning } = mfacVectors;

  test("the pruning step of the file, over two layers as one", async () => {
    const options = { sparsity: 4 / 12, damp: pruning.damp, blockSize: -1 };
    const got = await mfac(weights(pruning.w), gradients(grads), options);
    expect(masks(got)).toEqual(pruning.w.map((_, i) => Number(!pruning.pruned.includes(i))));
    close(flat(got), pruning.w_after_independent_updates, 1e-6);
    expect(got.map(({ report }) => report.zeros)).toEqual([3, 1]);
    expect(got[0]!.report).toMatchObject({ method: "mfac", tokens: 4, sparsity: 0.5 });
    expect(flat(mfacSync(weights(pruning.w), gradients(grads), options))).toEqual(flat(got));
  });

  test("masks are kept, and gradients of pruned weights have no say", async () => {
    const options = { sparsity: 4 / 12, damp: pruning.damp, blockSize: -1 };
    const first = await mfac(weights(pruning.w), gradients(grads), options);
    const again = { ...options, sparsity: 0.5, masks: first.map(({ mask }) => mask) };
    const more = await mfac(
      first.map(({ weight }) => weight),
      gradients(grads),
      again,
    );
    expect(masks(more).filter((keep) => keep === 0).length).toBe(6);
    masks(first).forEach((keep, i) => {
      if (!keep) expect([masks(more)[i], flat(more)[i]]).toEqual([0, 0]);
    });
    // Whatever those gradients are, the result is the same.
    const noise = grads.map((row) => row.map((g, i) => (pruning.pruned.includes(i) ? 7 : g)));
    const other = await mfac(
      first.map(({ weight }) => weight),
      gradients(noise),
      again,
    );
    expect(flat(other)).toEqual(flat(more));
  });

  test("one weight: exactly Optimal Brain Surgeon; sparsity 0 and 1", async () => {
    const F = grads[0]!.map((_, i) =>
      grads[0]!.map((__, j) => grads.reduce((s, g) => s + (g[i]! * g[j]!) / 4, i === j ? 0.1 : 0)),
    );
    const options = { sparsity: 1 / 12, damp: 0.1, blockSize: -1 };
    const got = await mfac(weights(pruning.w), gradients(grads), options);
    const gone = masks(got).indexOf(0);
    const costs = pruning.w.map((_, j) => answer(F, pruning.w, new Map([[j, 0]])).cost);
    expect(gone).toBe(costs.indexOf(Math.min(...costs)));
    close(flat(got), answer(F, pruning.w, new Map([[gone, 0]])).weight, 1e-6);
    const none = await mfac(weights(pruning.w), gradients(grads), { sparsity: 0 });
    close(flat(none), pruning.w.map(Math.fround), 0);
    const all = await mfac(weights(pruning.w), gradients(grads), { sparsity: 1 });
    expect(flat(all).every((w) => w === 0)).toBe(true);
  });

  test("bad input", async () => {
    const w = weights(pruning.w);
    const g = gradients(grads);
    const fails = async (run: Promise<unknown>, code: string) => {
      await expect(run).rejects.toMatchObject({ code });
    };
    await fails(mfac([], [], { sparsity: 0.5 }), "ARGUMENT");
    await fails(mfac(w, g.slice(0, 1), { sparsity: 0.5 }), "ARGUMENT");
    await fails(mfac(w, [g[0]!, Tensor.zeros([3, 2, 3])], { sparsity: 0.5 }), "SHAPE");
    await fails(mfac(w, g, { sparsity: 1.5 }), "ARGUMENT");
    await fails(mfac(w, g, { sparsity: 0.5, masks: [undefined] }), "ARGUMENT");
    await fails(
      mfac(w, [g[0]!, Tensor.from(new Float32Array(24).fill(NaN), [4, 2, 3])], { sparsity: 0.5 }),
      "NON_FINITE",
    );
  });
});

describe("obert", () => {
  const { grads, w, block, damp } = obertVectors;
  const one = () => [Tensor.from(w, [3, 4])];
  const fisherOf = async () => {
    const fisher = blockFisher(12, { blockSize: block });
    await fisher.add(W(grads.slice(0, 1)));
    fisher.addSync(W(grads.slice(1)));
    return fisher;
  };

  test("six weights of the file", async () => {
    const fishers = [await fisherOf()];
    const options = { sparsity: 0.5, damp, eps: 0 };
    const got = await obert(one(), fishers, options);
    expect(masks(got)).toEqual(w.map((_, i) => Number(!obertVectors.prune_6.includes(i))));
    close(flat(got), obertVectors.w_after, 1e-6);
    expect(got[0]!.report).toMatchObject({ method: "obert", zeros: 6, tokens: 4 });
    expect(flat(obertSync(one(), fishers, options))).toEqual(flat(got));
  });

  test("groups of two and four of the file: the cheapest goes, its block answers", async () => {
    const fishers = [await fisherOf()];
    const pairs = [...obertVectors.pair_groups].sort((a, b) => a.rho - b.rho);
    const [cheapest] = pairs;
    const two = await obert(one(), fishers, { sparsity: 2 / 12, damp, eps: 0, group: 2 });
    const start = Math.floor(cheapest!.weights[0]! / block) * block;
    const wanted = w.map((value, i) =>
      cheapest!.weights.includes(i)
        ? 0
        : value + (i >= start && i < start + block ? cheapest!.delta_block[i - start]! : 0),
    );
    close(flat(two), wanted, 1e-6);
    const four = await obert(one(), fishers, { sparsity: 4 / 12, damp, eps: 0, group: 4 });
    const least = obertVectors.group4_scores.indexOf(Math.min(...obertVectors.group4_scores));
    expect(masks(four)).toEqual(w.map((_, i) => Number(Math.floor(i / 4) !== least)));
  });

  test("one block is M-FAC with its block; layers together or each", async () => {
    const draw = normal(3);
    const rows = [0, 1].map(() => [Array.from({ length: 10 }, () => Math.fround(draw()))]);
    const g = [0, 1].map((i) =>
      Array.from({ length: 6 }, () =>
        Array.from({ length: 10 }, () => Math.fround(draw() * (1 + 3 * i))),
      ),
    );
    const fishers = g.map(() => blockFisher(10, { blockSize: 10 }));
    for (const [i, fisher] of fishers.entries()) await fisher.add(W(g[i]!));
    const together = await obert(rows.map(W), fishers, { sparsity: 0.5, damp: 0.01, eps: 0 });
    const same = await mfac(rows.map(W), g.map(W), { sparsity: 0.5, damp: 0.01, blockSize: 10 });
    expect(masks(together)).toEqual(masks(same));
    close(flat(together), flat(same), 1e-5);
    expect(together[0]!.report.zeros).not.toBe(5);
    const each = await obert(rows.map(W), fishers, { sparsity: 0.5, damp: 0.01, global: false });
    expect(each.map(({ report }) => report.zeros)).toEqual([5, 5]);
  });

  test("masks are kept; groups that do not fit, no gradients", async () => {
    const fishers = [await fisherOf()];
    const first = await obert(one(), fishers, { sparsity: 0.25, damp });
    const options = { sparsity: 0.5, damp, masks: [first[0]!.mask] };
    const more = await obert([first[0]!.weight], fishers, options);
    expect(more[0]!.report.zeros).toBe(6);
    masks(first).forEach((keep, i) => {
      if (!keep) expect(flat(more)[i]).toBe(0);
    });
    await expect(obert(one(), fishers, { sparsity: 0.5, group: 8 })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(obert(one(), [blockFisher(12)], { sparsity: 0.5 })).rejects.toMatchObject({
      code: "NO_TOKENS",
    });
    await expect(obert(one(), [blockFisher(5)], { sparsity: 0.5 })).rejects.toMatchObject({
      code: "SHAPE",
    });
    await expect(obert(one(), [{}] as never, { sparsity: 0.5 })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
  });
});

describe("schedules", () => {
  interface Gmp {
    s0: number;
    sf: number;
    t0: number;
    t1: number;
    s0b: number;
    points: [number, number][];
    points_s0_0_7: [number, number][];
  }
  const gmp = readVectors<Gmp>("gmp.json");

  test("the cubic values of the file", () => {
    for (const [initial, points] of [
      [gmp.s0, gmp.points],
      [gmp.s0b, gmp.points_s0_0_7],
    ] as const) {
      const schedule = { initial, final: gmp.sf, begin: gmp.t0, end: gmp.t1 };
      for (const [t, wanted] of points) {
        expect(Math.abs(cubicSparsity(schedule, t) - wanted)).toBeLessThan(1e-15);
      }
    }
    const schedule = { initial: 0, final: 0.9, begin: 0, end: 10 };
    expect(() => cubicSparsity({ ...schedule, initial: 0.95 }, 1)).toThrow("initial");
    expect(() => cubicSparsity({ ...schedule, end: 0 }, 1)).toThrow("end");
    expect(() => cubicSparsity(schedule, NaN)).toThrow("t but");
  });

  test("geometric: every step keeps the same share of what is left", () => {
    const steps = geometricSparsities(0.5, 0.98, 8);
    expect(steps.at(-1)).toBe(0.98);
    const shares = steps.map((s, j) => (1 - s) / (1 - (j === 0 ? 0.5 : steps[j - 1]!)));
    for (const share of shares) expect(Math.abs(share - shares[0]!)).toBeLessThan(1e-12);
    expect(geometricSparsities(0.3, 1, 1)).toEqual([1]);
    expect(() => geometricSparsities(0.9, 0.5, 3)).toThrow("from");
    expect(() => geometricSparsities(0.1, 0.5, 0)).toThrow("steps");
  });

  test("the learning rate is rewound at every pruning", () => {
    const options = { peak: 1, floor: 0.2, prunings: [2, 6], end: 10 };
    const rates = [0, 1, 1.999, 2, 4, 6, 8, 10, 11].map((t) => rewoundLearningRate(t, options));
    close(rates, [1, 0.6, 0.2004, 1, 0.6, 1, 0.6, 0.2, 0.2], 1e-12);
    expect(rewoundLearningRate(5, { peak: 2, prunings: [], end: 10 })).toBe(1);
    expect(() => rewoundLearningRate(1, { ...options, prunings: [6, 2] })).toThrow("prunings");
    expect(() => rewoundLearningRate(1, { ...options, floor: 3 })).toThrow("floor");
  });
});
