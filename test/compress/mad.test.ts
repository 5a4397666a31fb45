import { log, mul, reshape, scale, square, sub, sum } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import {
  fgsm,
  madSaliency,
  madScores,
  pgd,
  pruneByScores,
  softplusInverse,
} from "../../lib/compress/index.js";
import { Conv2d, Dropout, Linear, Sequential } from "../../lib/nn/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { matrix, normal, random } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

type Rows = number[][];
const W = (rows: Rows) => matrix(rows, "float32", "cpu");
const values = (tensor: Tensor) => Array.from(tensor.dataSync(), Number);
const close = (tensor: Tensor, wanted: readonly number[], tolerance: number) => {
  const got = values(tensor);
  expect(got.length).toBe(wanted.length);
  wanted.forEach((value, i) => {
    expect(Math.abs(got[i]! - value)).toBeLessThanOrEqual(tolerance);
  });
};
const table = (rows: number, columns: number, draw: () => number): Rows =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, () => Math.fround(draw())));

describe("madSaliency", () => {
  interface Mad {
    A: Rows;
    G: Rows;
    W: Rows;
    mask_after_f: Rows;
    saliency: Rows;
    sum: number;
    softplus_inverse: [number, number][];
  }
  const mad = readVectors<Mad>("mad.json");
  const statistics = {
    inputs: W(mad.A),
    outputs: Tensor.from(mad.G.map((row, i) => row[i]!)),
  };

  test("the scores of the file; no mask, no damage", () => {
    const got = madSaliency(W(mad.W), W(mad.mask_after_f), statistics);
    close(got, mad.saliency.flat(), 1e-8);
    expect(Math.abs(values(got).reduce((a, b) => a + b, 0) - mad.sum)).toBeLessThan(1e-7);
    const ones = W(mad.W.map((row) => row.map(() => 1)));
    expect(values(madSaliency(W(mad.W), ones, statistics)).every((value) => value === 0)).toBe(
      true,
    );
    expect(() => madSaliency(W(mad.W), ones, { ...statistics, inputs: W(mad.G) })).toThrow(
      "shape [3, 3]",
    );
  });

  test("the link's inverse", () => {
    for (const [y, x] of mad.softplus_inverse)
      expect(Math.abs(softplusInverse(y) - x)).toBeLessThan(1e-12 * Math.max(1, Math.abs(x)));
    expect(softplusInverse(0)).toBe(softplusInverse(1e-4));
    expect(softplusInverse(800)).toBe(800);
    expect(() => softplusInverse(NaN)).toThrow("y but");
  });
});

describe("pgd", () => {
  const x = Tensor.from([0.5, 0.25, 0.99, 0, 0.75]);
  const slope = Tensor.from([3, -2, 1, -1, 0]);
  const uphill = (y: Tensor) => sum(mul(y, slope));

  test("up a slope: the radius in the direction of each sign, within the range", async () => {
    const wanted = [0.6, 0.15, 1, 0, 0.75];
    close(await pgd(uphill, x, { radius: 0.1 }), wanted, 1e-7);
    close(await fgsm(uphill, x, { radius: 0.1 }), wanted, 1e-7);
    close(
      await pgd(uphill, x, { radius: 0.1, steps: 1, stepSize: 0.02 }),
      [0.52, 0.23, 1, 0, 0.75],
      1e-7,
    );
    close(
      await pgd(uphill, x, { radius: 0.1, range: [-1, 2] }),
      [0.6, 0.15, 1.09, -0.1, 0.75],
      1e-7,
    );
    expect(values(x)).toEqual([0.5, 0.25, 0.99, 0, 0.75].map(Math.fround));
  });

  test("steps follow the gradient where they are", async () => {
    // (y - 0.53)^2 downhill from 0.5: up by 0.02, up again, then back.
    const well = (y: Tensor) => scale(sum(square(sub(y, 0.53))), -1);
    const one = Tensor.from([0.5]);
    for (const [steps, wanted] of [
      [1, 0.52],
      [2, 0.54],
      [3, 0.52],
    ] as const)
      close(await pgd(well, one, { radius: 0.2, steps, stepSize: 0.02 }), [wanted], 1e-6);
  });

  test("a random start: by the seed, within the radius", async () => {
    const still = (y: Tensor) => sum(mul(y, 0));
    const big = Tensor.from(new Float32Array(1000).fill(0.5));
    const [a, b, c] = await Promise.all(
      [1, 1, 2].map(async (seed) => values(await pgd(still, big, { radius: 0.1, seed }))),
    );
    expect(b).toEqual(a);
    expect(c).not.toEqual(a);
    expect(Math.max(...a!.map((value) => Math.abs(value - 0.5)))).toBeLessThanOrEqual(0.1 + 1e-7);
    expect(Math.max(...a!)).toBeGreaterThan(0.59);
  });

  test("bad input", async () => {
    for (const options of [
      { radius: 0 },
      { radius: NaN },
      { steps: 0 },
      { stepSize: 0 },
      { range: [1, 1] as const },
      { range: [0, 0.5] as const },
    ])
      await expect(pgd(uphill, x, options)).rejects.toMatchObject({ code: "ARGUMENT" });
    const before = memoryStats().liveBlocks;
    const broken = (y: Tensor) => sum(log(mul(y, 0)));
    await expect(pgd(broken, x)).rejects.toMatchObject({ code: "NON_FINITE" });
    await expect(pgd(uphill, x, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
    await expect(pgd(uphill, Tensor.from([NaN]))).rejects.toMatchObject({ code: "ARGUMENT" });
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before + 1);
  });
});

describe("madScores", () => {
  const [N, out, inputs] = [4, 2, 3];
  const attack = { radius: 0.05, steps: 3 };
  const [maskSteps, maskRate] = [5, 0.1];

  /** Everything in float64 for z = W x and the loss 1/(2N) |z - y|^2. */
  function oracle(w: Rows, x: Rows, y: Rows): number[] {
    const dot = (a: readonly number[], b: readonly number[]) =>
      a.reduce((s, value, i) => s + value * b[i]!, 0);
    const errors = (weight: Rows, at: Rows) =>
      at.map((row, n) => weight.map((line, o) => dot(line, row) - y[n]![o]!));
    let attacked = x;
    for (let step = 0; step < attack.steps; ++step) {
      const e = errors(w, attacked);
      attacked = attacked.map((row, n) =>
        row.map((value, i) => {
          const slope = w.reduce((s, line, o) => s + e[n]![o]! * line[i]!, 0);
          const moved = value + Math.sign(slope) * ((2.3 * attack.radius) / attack.steps);
          const from = x[n]![i]!;
          return Math.min(
            Math.min(1, from + attack.radius),
            Math.max(Math.max(0, from - attack.radius), moved),
          );
        }),
      );
    }
    const m = w.map((row) => row.map(() => Math.log(Math.E - 1)));
    const [first, second] = [w.map((row) => row.map(() => 0)), w.map((row) => row.map(() => 0))];
    const f = (value: number) => Math.log1p(Math.exp(value));
    const soft = () => w.map((row, o) => row.map((value, i) => value * f(m[o]![i]!)));
    for (let t = 1; t <= maskSteps; ++t) {
      const e = errors(soft(), attacked);
      w.forEach((row, o) => {
        row.forEach((value, i) => {
          const byWeight = attacked.reduce((s, a, n) => s + (e[n]![o]! * a[i]!) / N, 0);
          const g = (byWeight * value) / (1 + Math.exp(-m[o]![i]!));
          first[o]![i] = 0.9 * first[o]![i]! + 0.1 * g;
          second[o]![i] = 0.999 * second[o]![i]! + 0.001 * g * g;
          const [mean, square] = [first[o]![i] / (1 - 0.9 ** t), second[o]![i] / (1 - 0.999 ** t)];
          const moved = m[o]![i]! - (maskRate * mean) / (Math.sqrt(square) + 1e-8);
          m[o]![i] = Math.min(Math.log(Math.E - 1), Math.max(Math.log(Math.expm1(1e-4)), moved));
        });
      });
    }
    const e = errors(soft(), attacked);
    const change = w.map((row, o) => row.map((value, i) => value * (1 - f(m[o]![i]!))));
    const A = x[0]!.map((_, i) =>
      x[0]!.map((__, j) => attacked.reduce((s, a) => s + (a[i]! * a[j]!) / N, 0)),
    );
    return change.flatMap((row, o) => {
      const G = e.reduce((s, line) => s + line[o]! ** 2 / N, 0);
      return row.map((d, i) => 0.5 * G * d * dot(row, A[i]!));
    });
  }

  const draw = normal(11);
  const uniform = random(12);
  const problem = () => ({
    w: table(out, inputs, draw),
    x: table(N, inputs, () => 0.1 + 0.8 * uniform()),
    y: table(N, out, draw),
  });
  const problems = [problem(), problem()];
  const squares = (z: Tensor, y: Tensor) => scale(sum(square(sub(z, y))), 0.5 / N);
  const layerOf = (w: Rows) => {
    const layer = new Linear(inputs, out, { bias: false });
    layer.weight.dispose();
    (layer as { weight: Tensor }).weight = W(w);
    return layer;
  };
  const options = { attack, maskSteps, maskRate };
  const wanted = problems.map(({ w, x, y }) => oracle(w, x, y));
  const tolerance = 2e-5 * Math.max(...wanted.flat().map(Math.abs));

  test("a linear layer beside the same in float64, averaged over batches", async () => {
    const [one, two] = problems as [(typeof problems)[0], (typeof problems)[0]];
    const model = layerOf(one.w);
    const batches = [one, two].map(({ x, y }) => ({ x: W(x), y: W(y) }));
    const loss = (x: Tensor, { y }: { y: Tensor }) => squares(model.forward(x), y);
    const single = await madScores(model, { batches: batches.slice(0, 1), loss, ...options });
    expect([...single.keys()]).toEqual(["weight"]);
    close(single.get("weight")!, wanted[0]!, tolerance);
    const both = await madScores(model, { batches, loss, ...options });
    const second = oracle(one.w, two.x, two.y);
    close(
      both.get("weight")!,
      second.map((value, i) => (value + wanted[0]![i]!) / 2),
      tolerance,
    );
    expect(values(model.weight)).toEqual(one.w.flat());
    expect(model.hook).toBeUndefined();
  });

  test("a convolution of two groups is two linear layers; a layer used twice", async () => {
    const conv = new Conv2d(2 * inputs, 2 * out, 1, { groups: 2, bias: false });
    (conv as { weight: Tensor }).weight = reshape(W(problems.flatMap(({ w }) => w)), [
      2 * out,
      inputs,
      1,
      1,
    ]);
    const beside = (key: "x" | "y") =>
      W(problems[0]![key].map((row, n) => [...row, ...problems[1]![key][n]!]));
    const x = reshape(beside("x"), [N, 2 * inputs, 1, 1]);
    const y = reshape(beside("y"), [N, 2 * out, 1, 1]);
    const model = new Sequential(conv, new Dropout(0));
    const loss = (images: Tensor) => squares(model.forward(images), y);
    const got = await madScores(model, { batches: [{ x }], loss, ...options });
    close(got.get("stages.0.weight")!, wanted.flat(), tolerance);
    expect(got.get("stages.0.weight")!.shape).toEqual([2 * out, inputs]);
  });

  test("bad input leaves the model alone, and leaks nothing", async () => {
    const model = layerOf(problems[0]!.w);
    const [x, y] = [W(problems[0]!.x), W(problems[0]!.y)];
    const loss = (at: Tensor) => squares(model.forward(at), y);
    const batches = [{ x }];
    const before = memoryStats().liveBlocks;
    for (const score of (await madScores(model, { batches, loss, ...options })).values())
      score.dispose();
    const code = async (run: Promise<unknown>, expected: string) =>
      expect(run).rejects.toMatchObject({ code: expected });
    await code(madScores(model, { batches, loss, attack: { radius: 0 } }), "ARGUMENT");
    await code(madScores(model, { batches: [], loss }), "ARGUMENT");
    await code(madScores(new Dropout(0.5), { batches, loss }), "ARGUMENT");
    await code(madScores(model, { batches, loss: (at) => sum(at) }), "ARGUMENT");
    await code(madScores(model, { batches, loss, signal: AbortSignal.abort() }), "ABORTED");
    const throws = () => {
      throw new Error("from the loss");
    };
    await expect(madScores(model, { batches, loss: throws })).rejects.toThrow("from the loss");
    expect(values(model.weight)).toEqual(problems[0]!.w.flat());
    expect(model.hook).toBeUndefined();
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before + 1);
  });
});

describe("pruneByScores", () => {
  const draw = normal(21);
  const [w1, w2, s1, s2] = [3, 2, 3, 2].map((rows) => table(rows, 4, draw)) as [
    Rows,
    Rows,
    Rows,
    Rows,
  ];
  const smallest = (scores: readonly number[], zeros: number) => {
    const order = scores.map((_, i) => i).sort((a, b) => scores[a]! - scores[b]! || a - b);
    return scores.map((_, i) => Number(!order.slice(0, zeros).includes(i)));
  };

  test("together, each row for itself, or some of both; negative scores go first", async () => {
    const weights = [W(w1), W(w2)];
    const scores = [W(s1), W(s2)];
    const all = await pruneByScores(weights, scores, { sparsity: 0.4 });
    const flatScores = [...s1.flat(), ...s2.flat()];
    expect(all.flatMap(({ mask }) => values(mask))).toEqual(smallest(flatScores, 8));
    const mixed = await pruneByScores(weights, scores, {
      sparsity: 0.5,
      scopes: ["global", "row"],
    });
    expect(values(mixed[0]!.mask)).toEqual(smallest(s1.flat(), 6));
    expect(values(mixed[1]!.mask)).toEqual(s2.flatMap((row) => smallest(row, 2)));
    expect(values(mixed[1]!.weight)).toEqual(
      w2.flat().map((value, i) => (values(mixed[1]!.mask)[i] ? value : 0)),
    );
    expect(mixed.map(({ report }) => report.zeros)).toEqual([6, 4]);
  });

  test("masks are kept", async () => {
    const held = s1.flat().map((_, i) => Number(i !== s1.flat().indexOf(Math.max(...s1.flat()))));
    const mask = Tensor.from(Uint8Array.from(held), [3, 4], { dtype: "bool" });
    const [got] = await pruneByScores([W(w1)], [W(s1)], { sparsity: 0.25, masks: [mask] });
    const scores = s1.flat().map((score, i) => (held[i] ? score : -Infinity));
    expect(values(got!.mask)).toEqual(smallest(scores, 3));
  });

  test("bad input", async () => {
    const code = async (run: Promise<unknown>, expected: string) =>
      expect(run).rejects.toMatchObject({ code: expected });
    await code(pruneByScores([W(w1)], [], { sparsity: 0.5 }), "ARGUMENT");
    await code(pruneByScores([W(w1)], [W(s2)], { sparsity: 0.5 }), "SHAPE");
    await code(pruneByScores([W(w1)], [W(s1)], { sparsity: 2 }), "ARGUMENT");
    await code(pruneByScores([W(w1)], [W(s1)], { sparsity: 0.5, scopes: [] }), "ARGUMENT");
    const nan = W(s1.map((row) => row.map(() => NaN)));
    await code(pruneByScores([W(w1)], [nan], { sparsity: 0.5 }), "NON_FINITE");
  });
});
