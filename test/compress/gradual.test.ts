import {
  cubicSparsity,
  geometricSparsities,
  gmp,
  gmpSync,
  mfac,
  pruneGradually,
  type PruneResult,
} from "../../lib/compress/index.js";
import { add, matmul, mean, square, sub, valueAndGrad } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { AdamW, SGD } from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { matrix, normal } from "../helpers/gptq-oracle.js";

type Rows = number[][];
const draws = (seed: number, rows: number, columns: number): Rows => {
  const draw = normal(seed);
  return Array.from({ length: rows }, () =>
    Array.from({ length: columns }, () => Math.fround(draw())),
  );
};
const W = (rows: Rows) => matrix(rows, "float32", "cpu");
const values = (tensor: Tensor) => Array.from(tensor.dataSync(), Number);
const maskOf = (results: readonly PruneResult[]) => results.flatMap(({ mask }) => values(mask));

/** What stays when the smallest `zeros` of |w| go, of equal ones the first; `held` go before all. */
function keepLargest(w: readonly number[], zeros: number, held: readonly number[] = []): number[] {
  const score = (i: number) => (held[i] === 0 ? -1 : Math.abs(w[i]!));
  const order = w.map((_, i) => i).sort((a, b) => score(a) - score(b) || a - b);
  const gone = new Set(order.slice(0, zeros));
  return w.map((_, i) => Number(!gone.has(i)));
}

describe("gmp", () => {
  const layers = [draws(1, 4, 5), draws(2, 3, 3).map((row) => row.map((w) => w / 4))];
  const flat = layers.flat(2);

  test.each([0, 0.1, 0.34, 0.5, 0.77, 1])("%p of all weights, exactly, the smallest", async (s) => {
    const zeros = Math.round(29 * s);
    const got = await gmp(layers.map(W), { sparsity: s });
    expect(maskOf(got)).toEqual(keepLargest(flat, zeros));
    expect(got.flatMap(({ weight }) => values(weight))).toEqual(
      flat.map((w, i) => (keepLargest(flat, zeros)[i] ? w : 0)),
    );
    expect(maskOf(gmpSync(layers.map(W), { sparsity: s }))).toEqual(maskOf(got));
    const each = await gmp(layers.map(W), { sparsity: s, global: false });
    expect(each.map(({ report }) => report.zeros)).toEqual([Math.round(20 * s), Math.round(9 * s)]);
  });

  test("what is pruned stays, even when it has grown since and another weight is zero", async () => {
    const w = [5, -1, 0, 2, 3, -4];
    const mask = Tensor.from(Uint8Array.of(0, 1, 1, 1, 1, 1), [2, 3], { dtype: "bool" });
    const run = async (sparsity: number) => {
      const got = await gmp([Tensor.from(w, [2, 3])], { sparsity, masks: [mask] });
      return [maskOf(got), got.flatMap(({ weight }) => values(weight))];
    };
    expect(await run(1 / 6)).toEqual([
      [0, 1, 1, 1, 1, 1],
      [0, -1, 0, 2, 3, -4],
    ]);
    expect((await run(0.5))[0]).toEqual([0, 0, 0, 1, 1, 1]);
    expect((await run(0))[0]).toEqual([0, 1, 1, 1, 1, 1]); // never fewer
  });

  test("one weight of every row stays when asked", async () => {
    const w = [1, 2, 2, 30, 40, 50, 60, 70, 80];
    const got = await gmp([Tensor.from(w, [3, 3])], { sparsity: 6 / 9, keepRows: true });
    expect(maskOf(got)).toEqual([0, 0, 1, 0, 0, 1, 0, 0, 1]);
    const less = await gmp([Tensor.from(w, [3, 3])], { sparsity: 3 / 9, keepRows: true });
    expect(maskOf(less)).toEqual([0, 0, 1, 0, 1, 1, 1, 1, 1]);
    await expect(
      gmp([Tensor.from(w, [3, 3])], { sparsity: 0.9, keepRows: true }),
    ).rejects.toMatchObject({ code: "ARGUMENT" });
  });

  test("bad input", async () => {
    const code = async (run: Promise<unknown>, wanted: string) =>
      expect(run).rejects.toMatchObject({ code: wanted });
    await code(gmp([], { sparsity: 0.5 }), "ARGUMENT");
    await code(gmp([W([[NaN]])], { sparsity: 0.5 }), "NON_FINITE");
    await code(gmp([W([[1]])], { sparsity: -0.1 }), "ARGUMENT");
    await code(gmp([W([[1]])], { sparsity: 1, global: "yes" as never }), "ARGUMENT");
    await code(gmp([W([[1]])], { sparsity: 1, masks: [Tensor.zeros([1, 1])] }), "DTYPE");
  });
});

describe("pruneGradually", () => {
  /** Least squares with a sparse solution: 24 inputs, 4 of which matter for each of 3 outputs. */
  const truth = draws(3, 3, 24).map((row, i) => row.map((w, j) => (j % 6 === i ? 1 + w * w : 0)));
  const X = draws(4, 64, 24);
  const Y = X.map((x) => truth.map((row) => row.reduce((s, w, j) => s + w * x[j]!, 0)));
  const [x, y] = [W(X), W(Y)];
  const start = () => ({ name: "w", tensor: Tensor.from(draws(5, 3, 24).flat(), [3, 24]) });
  const loss = (w: Tensor) => () => mean(square(sub(matmul(x, w.transpose()), y)));

  test("ten prunings with training between find the weights that matter", async () => {
    const w = start();
    using optimizer = new AdamW([w], { lr: 0.05, weightDecay: 0.01 });
    for (let i = 0; i < 200; ++i) await optimizer.step(loss(w.tensor));
    const schedule = { initial: 0.3, final: 60 / 72, begin: 0, end: 9 };
    const sparsities = Array.from({ length: 10 }, (_, t) => cubicSparsity(schedule, t));
    const seen: number[][] = [];
    const { masks, steps } = await pruneGradually([w], {
      sparsities,
      prune: gmp,
      train: async (held) => {
        optimizer.setMasks(held);
        seen.push(values(held.get("w")!));
        for (let i = 0; i < 20; ++i) await optimizer.step(loss(w.tensor));
      },
    });
    const zeros = seen.map((mask) => mask.filter((keep) => keep === 0).length);
    expect(zeros).toEqual(sparsities.map((s) => Math.round(72 * s)));
    seen.slice(1).forEach((mask, t) => {
      mask.forEach((keep, i) => {
        expect(keep).toBeLessThanOrEqual(seen[t]![i]!);
      });
    });
    expect(values(masks.get("w")!)).toEqual(truth.flat().map((value) => Number(value !== 0)));
    expect(steps.map(({ reports }) => reports[0]!.zeros)).toEqual(zeros);
    values(w.tensor).forEach((value, i) => {
      if (truth.flat()[i] === 0) expect(value).toBe(0);
    });
  });

  test("M-FAC with new gradients at each of its geometric steps", async () => {
    const w = start();
    using optimizer = new SGD([w], { lr: 0.05, momentum: 0 });
    for (let i = 0; i < 200; ++i) await optimizer.step(loss(w.tensor));
    const gradients = () => {
      const rows = Array.from({ length: 8 }, (_, k) => {
        const batch = W(X.slice(8 * k, 8 * k + 8));
        const wanted = W(Y.slice(8 * k, 8 * k + 8));
        const one = () => mean(square(sub(matmul(batch, w.tensor.transpose()), wanted)));
        const { gradients: list } = valueAndGrad(one, [w.tensor]);
        return values(list[0]!);
      });
      return W(rows);
    };
    const { masks } = await pruneGradually([w], {
      sparsities: geometricSparsities(0, 60 / 72, 4),
      prune: (weights, options) => mfac(weights, [gradients()], { ...options, blockSize: -1 }),
      train: async (held) => {
        optimizer.setMasks(held);
        for (let i = 0; i < 50; ++i) await optimizer.step(loss(w.tensor));
      },
    });
    expect(values(masks.get("w")!)).toEqual(truth.flat().map((value) => Number(value !== 0)));
  });

  test("convolutions are pruned as matrices and keep their shape", async () => {
    const tensor = Tensor.from(draws(6, 4, 18).flat(), [4, 2, 3, 3]);
    const before = memoryStats().liveBlocks;
    const { masks } = await pruneGradually([{ name: "conv", tensor }], {
      sparsities: [0.25, 0.5],
      prune: gmp,
      train: () => undefined,
    });
    expect(masks.get("conv")!.shape).toEqual([4, 2, 3, 3]);
    expect(values(tensor).filter((value) => value === 0).length).toBe(36);
    for (const mask of masks.values()) mask.dispose();
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
  });

  test("training that revives weights, pruners that do, targets that fall, an abort", async () => {
    const w = start();
    const fails = (changes: object) =>
      pruneGradually([w], {
        sparsities: [0.25, 0.5],
        prune: gmp,
        train: () => undefined,
        ...changes,
      });
    const unmasked = new SGD([w], { lr: 0.1 });
    const free = async () => {
      await unmasked.step(loss(w.tensor));
    };
    await expect(fails({ train: free })).rejects.toThrow(/hold the masks.*of w/);
    const forgetful = (weights: Tensor[], { sparsity, step }: { sparsity: number; step: number }) =>
      gmp(step === 0 ? weights : [W(draws(9, 3, 24))], { sparsity });
    await expect(fails({ prune: forgetful })).rejects.toThrow("grow back");
    await expect(fails({ sparsities: [0.5, 0.25] })).rejects.toMatchObject({ code: "ARGUMENT" });
    await expect(fails({ sparsities: [] })).rejects.toMatchObject({ code: "ARGUMENT" });
    const controller = new AbortController();
    const stops = () => {
      controller.abort(new Error("enough"));
    };
    await expect(fails({ train: stops, signal: controller.signal })).rejects.toMatchObject({
      code: "ABORTED",
    });
    await expect(
      pruneGradually([{ name: "bias", tensor: Tensor.zeros([3]) }], {
        sparsities: [0.5],
        prune: gmp,
        train: () => undefined,
      }),
    ).rejects.toMatchObject({ code: "SHAPE" });
  });
});

describe("masks of an optimizer", () => {
  const target = Tensor.from([1, 2, 3, 4]);
  const pair = () => [
    { name: "a", tensor: Tensor.from([5, 6, 7, 8]) },
    { name: "b", tensor: Tensor.from([1, 1, 1, 1]) },
  ];
  const loss = ([a, b]: ReturnType<typeof pair>) => {
    const term = (w: Tensor) => mean(square(sub(w, target)));
    return () => add(term(a!.tensor), term(b!.tensor));
  };
  const mask = Tensor.from(Uint8Array.of(1, 0, 1, 0), [4], { dtype: "bool" });

  test("momentum and decay revive nothing; the others train as if alone", async () => {
    const params = pair();
    using optimizer = new AdamW(params, { lr: 0.1, weightDecay: 0.1 });
    for (let i = 0; i < 3; ++i) await optimizer.step(loss(params));
    optimizer.setMasks(new Map([["a", mask]]));
    const twin = pair();
    twin[0]!.tensor = params[0]!.tensor.contiguous();
    twin[1]!.tensor = params[1]!.tensor.contiguous();
    using free = new AdamW(twin, { lr: 0.1, weightDecay: 0.1 });
    free.loadStateDict(optimizer.stateDict());
    for (let i = 0; i < 5; ++i) {
      await optimizer.step(loss(params));
      await free.step(loss(twin));
      const [a, alone] = [values(params[0]!.tensor), values(twin[0]!.tensor)];
      expect([a[1], a[3]]).toEqual([0, 0]);
      expect([a[0], a[2]]).toEqual([alone[0], alone[2]]);
      expect(values(params[1]!.tensor)).toEqual(values(twin[1]!.tensor));
    }
    optimizer.setMasks(new Map());
    await optimizer.step(loss(params));
    expect(values(params[0]!.tensor)[1]).not.toBe(0);
  });

  test("the norm and the clipping are those of the masked gradient", async () => {
    const params = pair();
    using optimizer = new SGD(params, { lr: 0.1 });
    optimizer.setMasks(new Map([["a", mask]]));
    const { gradientNorm } = await optimizer.step(loss(params));
    // 2/4 (w - target): (5-1, 7-3) of a, (0, -1, -2, -3) of b.
    expect(Math.abs(gradientNorm - Math.hypot(2, 2, 0.5, 1, 1.5))).toBeLessThan(1e-6);
  });

  test("bad masks change nothing", () => {
    const params = pair();
    using optimizer = new SGD(params, { lr: 0.1 });
    const cases: [Map<string, Tensor>, string][] = [
      [new Map([["c", mask]]), "ARGUMENT"],
      [new Map([["a", Tensor.zeros([4])]]), "DTYPE"],
      [
        new Map([
          ["a", mask],
          ["b", mask.slice(0, 0, 3)],
        ]),
        "SHAPE",
      ],
    ];
    for (const [masks, code] of cases)
      expect(() => {
        optimizer.setMasks(masks);
      }).toThrow(expect.objectContaining({ code }));
    expect(values(params[0]!.tensor)).toEqual([5, 6, 7, 8]);
  });
});
