import { linear, reshape, scale, square, sub, sum, tanh } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { kroneckerFactors, sampleLabels } from "../../lib/curvature/index.js";
import { mlp } from "../../lib/models/index.js";
import { loadTensors, saveTensors } from "../../lib/formats/index.js";
import {
  Conv2d,
  crossEntropy,
  Embedding,
  InitialValues,
  Linear,
  Module,
} from "../../lib/nn/index.js";
import { KFAC, type DampingMode } from "../../lib/optim/index.js";
import { precondition, preconditioner } from "../../lib/optim/kfac-layer.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import { settledMemory } from "../helpers/live-memory.js";
import { expectWithin, randoms, valuesOf } from "../helpers/plain.js";
import { eliminate } from "../helpers/symmetric.js";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const matrix = (rows: readonly (readonly number[])[]) =>
  Tensor.from(Float32Array.from(rows.flat()), [rows.length, rows[0]!.length]);

async function update(
  factors: { inputs: Tensor; outputs: Tensor },
  gradient: Tensor,
  damping: number,
  mode: DampingMode,
): Promise<Float64Array> {
  return valuesOf(precondition(gradient, await preconditioner("t", factors, damping, mode)));
}

describe("the update of one layer", () => {
  const factors = {
    inputs: matrix([
      [2, 0.5],
      [0.5, 1],
    ]),
    outputs: matrix([
      [1, 0.2],
      [0.2, 3],
    ]),
  };
  const gradient = matrix([
    [1, 2],
    [3, 4],
  ]);

  // methods/optimizers.md, section 14 (e), oracles 1 and 3; float32 of numbers near 1.
  test.each([
    ["factored", 0, [-0.03861004, 1.77606178, 0.19305019, 1.11969112]],
    ["exact", 0, [-0.03861004, 1.77606178, 0.19305019, 1.11969112]],
    ["factored", 0.1, [0.04623722, 1.00412773, 0.20178307, 0.79315368]],
    ["exact", 0.1, [0.00599941, 1.59906636, 0.19672689, 1.09177305]],
  ] as const)("%s damping %d agrees with the dense solve", async (mode, damping, expected) => {
    const found = await update(factors, gradient, damping, mode);
    expectWithin(
      found,
      (k) => expected[k]!,
      () => 1e-6,
    );
  });

  test.each(["factored", "exact"] as const)(
    "%s: much damping gives the gradient over it",
    async (mode) => {
      const found = await update(factors, gradient, 1e10, mode);
      const plain = valuesOf(gradient);
      // Factored damping also has the terms of order sqrt(damping): 3 / sqrt(1e10) of the whole.
      expectWithin(
        found,
        (k) => plain[k]! / 1e10,
        (k) => (plain[k]! / 1e10) * 1e-4,
      );
    },
  );

  test.each(["factored", "exact"] as const)(
    "%s: without derivatives the gradient stays",
    async (mode) => {
      const dead = {
        inputs: factors.inputs,
        outputs: matrix([
          [0, 0],
          [0, 0],
        ]),
      };
      expect(await update(dead, gradient, 0.1, mode)).toEqual(valuesOf(gradient));
    },
  );

  test("a factor of rank one is inverted with a shift", async () => {
    const singular = {
      inputs: matrix([
        [1, 1],
        [1, 1],
      ]),
      outputs: factors.outputs,
    };
    const found = await update(singular, gradient, 0, "factored");
    expect(found.every(Number.isFinite)).toBe(true);
  });

  test("with G = I one step of rate 1 is least squares", async () => {
    const draw = randoms(3);
    const [n, d, o] = [12, 3, 2];
    const x = Array.from({ length: n }, () => Array.from({ length: d }, draw));
    const y = Array.from({ length: n }, () => Array.from({ length: o }, draw));
    const A = Array.from({ length: d }, (_, i) =>
      Array.from({ length: d }, (_, j) => x.reduce((t, row) => t + row[i]! * row[j]!, 0) / n),
    );
    // From W = 0: the gradient of the mean of |W x - y|^2 / 2 is -y x^T / n.
    const G = Array.from({ length: o }, (_, i) =>
      Array.from({ length: d }, (_, j) => -x.reduce((t, row, b) => t + y[b]![i]! * row[j]!, 0) / n),
    );
    const identity = {
      inputs: matrix(A),
      outputs: matrix([
        [1, 0],
        [0, 1],
      ]),
    };
    const found = await update(identity, matrix(G), 0, "factored");
    const solution = G.flatMap((row) => [...eliminate(A.flat(), row)]);
    expectWithin(
      found,
      (k) => solution[k]!,
      () => 1e-5,
    );
  });
});

class One extends Module {
  readonly layer = new Linear(2, 2, { initial: new InitialValues(4) });
  forward = (x: Tensor) => this.layer.forward(x);
}

const batch = {
  x: matrix([
    [1, 0.5],
    [-0.5, 2],
    [0.25, -1],
    [2, 1],
    [-1, -0.75],
  ]),
  y: matrix([
    [1, 0],
    [0, -1],
    [2, 1],
    [-1, 0.5],
    [0, 3],
  ]),
};

/** K-FAC of `One` on the mean of |W x + b - y|^2 / 2 in float64 and plain loops, by dense solves with the Kronecker product. */
function reference(start: number[], mode: DampingMode, steps: number): number[] {
  const [xs, ys] = [valuesOf(batch.x), valuesOf(batch.y)];
  let theta = start; // [2, 3], the bias last
  const buffer = new Array<number>(6).fill(0);
  let [A, G, inverted]: number[][] = [[], [], []];
  for (let step = 0; step < steps; ++step) {
    const rows = [0, 1, 2, 3, 4].map((b) => [xs[2 * b]!, xs[2 * b + 1]!, 1]);
    const errors = rows.map((a, b) =>
      [0, 1].map((o) => a.reduce((t, v, i) => t + v * theta[3 * o + i]!, 0) - ys[2 * b + o]!),
    );
    const outer = (list: number[][]) => {
      const n = list[0]!.length;
      return Array.from({ length: n * n }, (_, k) =>
        list.reduce((t, row) => t + (row[Math.floor(k / n)]! * row[k % n]!) / 5, 0),
      );
    };
    const mixed = (old: number[], fresh: number[]) =>
      step === 0 ? fresh : fresh.map((value, k) => 0.5 * old[k]! + 0.5 * value);
    A = mixed(A!, outer(rows));
    G = mixed(G!, outer(errors));
    const gradient = Array.from({ length: 6 }, (_, k) =>
      rows.reduce((t, a, b) => t + (errors[b]![Math.floor(k / 3)]! * a[k % 3]!) / 5, 0),
    );
    if (step % 2 === 0) {
      const pi = Math.sqrt((A[0]! + A[4]! + A[8]!) / 3 / ((G[0]! + G[3]!) / 2));
      const root = Math.sqrt(0.04);
      const shift = (M: number[], n: number, by: number) =>
        M.map((value, k) => value + (k % (n + 1) === 0 ? by : 0));
      const [left, right] =
        mode === "factored" ? [shift(A, 3, pi * root), shift(G, 2, root / pi)] : [A, G];
      inverted = Array.from({ length: 36 }, (_, k) => {
        const [p, q] = [Math.floor(k / 6), k % 6];
        const product =
          right[Math.floor(p / 3) * 2 + Math.floor(q / 3)]! * left[(p % 3) * 3 + (q % 3)]!;
        return product + (mode === "exact" && p === q ? 0.04 : 0);
      });
    }
    const u = [...eliminate(inverted!, gradient)];
    const kl = 0.01 * u.reduce((t, value, k) => t + value * gradient[k]!, 0);
    const nu = Math.min(1, Math.sqrt(2e-3 / kl));
    theta = theta.map((value, k) => {
      buffer[k] = 0.8 * buffer[k]! + nu * u[k]! + 0.05 * value;
      return value - 0.1 * buffer[k];
    });
  }
  return theta;
}

test.each(["factored", "exact"] as const)(
  "%s: steps agree with float64 loops",
  async (dampingMode) => {
    const model = new One();
    const read = () => {
      const [w, b] = [valuesOf(model.layer.weight), valuesOf(model.layer.bias!)];
      return [w[0]!, w[1]!, b[0]!, w[2]!, w[3]!, b[1]!];
    };
    const expected = reference(read(), dampingMode, 5);
    using optimizer = new KFAC(model.parameters(), {
      model,
      lr: 0.1,
      momentum: 0.8,
      weightDecay: 0.05,
      damping: 0.04,
      factorDecay: 0.5,
      inverseInterval: 2,
      klClip: 2e-3,
      dampingMode,
    });
    const loss = () => scale(sum(square(sub(model.forward(batch.x), batch.y))), 0.1);
    const scales: number[] = [];
    for (let i = 0; i < 5; ++i) scales.push((await optimizer.step(loss)).klScale ?? NaN);
    expect(scales.some((value) => value < 1)).toBe(true);
    const found = read();
    // Five steps of float32 with a condition near 1e2.
    expectWithin(
      found,
      (k) => expected[k]!,
      () => 5e-5,
    );
    expect(optimizer.layers).toEqual(["layer"]);
  },
);

/** A layer of each kind, one in groups, one used twice, a shared weight and parameters of no layer. */
class Net extends Module {
  readonly words = new Embedding(5, 4, { initial: new InitialValues(1) });
  readonly image = new Conv2d(4, 4, 2, { groups: 2, initial: new InitialValues(2) });
  readonly hidden = new Linear(8, 8, { initial: new InitialValues(3) });
  readonly output = new Linear(8, 3, { bias: false, initial: new InitialValues(4) });
  readonly unused = new Linear(2, 2, { initial: new InitialValues(5) });
  readonly offset = Tensor.zeros([3]);

  forward(indices: Tensor): Tensor {
    return scope(() => {
      const batch = indices.shape[0] ?? 0;
      const pixels = reshape(this.words.forward(indices).permute([0, 2, 1]), [batch, 4, 2, 3]);
      const maps = reshape(tanh(this.image.forward(pixels)), [batch, 8]);
      const twice = tanh(this.hidden.forward(tanh(this.hidden.forward(maps))));
      return linear(twice, this.output.weight, this.offset);
    });
  }
}

const words = Tensor.from(
  Array.from({ length: 48 }, (_, i) => (i * i + 3 * i) % 5),
  [8, 6],
  { dtype: "int32" },
);
const labels = Tensor.from(
  Array.from({ length: 8 }, (_, i) => (2 * i + 1) % 3),
  [8],
  { dtype: "int32" },
);

describe.each(["factored", "exact"] as const)("%s, on layers of every kind", (dampingMode) => {
  const options = { lr: 0.05, weightDecay: 0, inverseInterval: 3, dampingMode };
  const values = (model: Module) =>
    [...model.parameters()].flatMap(({ tensor }) => [...valuesOf(tensor)]);

  test("goes down, and saved and loaded steps on to the same bits", async () => {
    const [one, two] = [new Net(), new Net()];
    expect(values(one)).toEqual(values(two));
    using whole = new KFAC(one.parameters(), { model: one, ...options });
    using first = new KFAC(two.parameters(), { model: two, ...options });
    expect(whole.layers).toEqual(["words", "image", "hidden", "output", "unused"]);
    const loss = (model: Net) => () => crossEntropy(model.forward(words), labels);
    const losses: number[] = [];
    for (let i = 0; i < 4; ++i) {
      losses.push((await whole.step(loss(one))).loss);
      await first.step(loss(two));
    }
    const path = join(folder, `${dampingMode}.safetensors`);
    const { tensors, metadata } = first.stateDict();
    await saveTensors(path, tensors, Object.fromEntries(metadata));
    using second = new KFAC(two.parameters(), { model: two, ...options });
    second.loadStateDict(await loadTensors(path));
    for (let i = 0; i < 4; ++i) {
      losses.push((await whole.step(loss(one))).loss);
      await second.step(loss(two));
    }
    expect(values(two)).toEqual(values(one));
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    const broken = new Map(metadata).set("rows", "[1]");
    expect(() => {
      second.loadStateDict({ tensors, metadata: broken });
    }).toThrow(expect.objectContaining({ code: "FORMAT" }));
    using store = whole.curvature();
    expect([...store.layers.keys()]).toEqual(["words", "image", "hidden"]);
  });

  test("a zero gradient leaves the parameters as they are, and nothing is leaked", async () => {
    const model = new Net();
    using optimizer = new KFAC(model.parameters(), { model, ...options });
    const before = values(model);
    const flat = () => scale(crossEntropy(model.forward(words), labels), 0);
    await optimizer.step(flat);
    await optimizer.step(flat);
    expect(values(model)).toEqual(before);
    const live = (await settledMemory()).liveBlocks;
    for (let i = 0; i < 20; ++i)
      await optimizer.step(() => crossEntropy(model.forward(words), labels), {
        accumulate: 1 + (i % 2),
      });
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(live);
  });
});

test("the factors of a first step are those of kroneckerFactors", async () => {
  const model = mlp([3, 4, 2], { initial: new InitialValues(1) });
  const x = Tensor.from(Float32Array.from({ length: 18 }, randoms(2)), [6, 3]);
  const y = Tensor.from([0, 1, 1, 0, 1, 0], [6], { dtype: "int32" });
  const loss = () => crossEntropy(model.forward(x), y);
  using store = await kroneckerFactors(loss, model);
  using optimizer = new KFAC(model.parameters(), { model, lr: 0 });
  await optimizer.step(loss);
  using kept = optimizer.curvature();
  for (const [name, { inputs, outputs, rows }] of store.layers) {
    expect(valuesOf(kept.layer(name).inputs)).toEqual(valuesOf(inputs));
    expect(valuesOf(kept.layer(name).outputs)).toEqual(valuesOf(outputs));
    expect(kept.layer(name).rows).toBe(rows);
  }
});

test("drawn labels give the factors where asked for, and are demanded when due", async () => {
  const model = mlp([3, 4, 2], { initial: new InitialValues(1) });
  const x = Tensor.from(Float32Array.from({ length: 18 }, randoms(2)), [6, 3]);
  const y = Tensor.from([0, 1, 1, 0, 1, 0], [6], { dtype: "int32" });
  const loss = () => crossEntropy(model.forward(x), y);
  const drawn = sampleLabels(model.forward(x), { seed: 9 });
  const sampledLoss = () => crossEntropy(model.forward(x), drawn);
  using store = await kroneckerFactors(sampledLoss, model);
  using optimizer = new KFAC(model.parameters(), { model, fisher: "sampled", factorInterval: 2 });
  const before = valuesOf(model.layers[0]!.weight);
  const live = (await settledMemory()).liveBlocks;
  await expect(optimizer.step(loss)).rejects.toMatchObject({ code: "ARGUMENT" });
  const broken = () => scale(sampledLoss(), Number.NaN);
  await expect(optimizer.step(loss, { sampledLoss: broken })).rejects.toMatchObject({
    code: "NON_FINITE",
    details: { layer: "layers.0" },
  });
  const failing = () => {
    throw new Error("from the loss");
  };
  await expect(optimizer.step(loss, { sampledLoss: failing })).rejects.toThrow("from the loss");
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(live);
  expect(valuesOf(model.layers[0]!.weight)).toEqual(before);
  await optimizer.step(loss, { sampledLoss });
  using kept = optimizer.curvature();
  expect(valuesOf(kept.layer("layers.1").outputs)).toEqual(
    valuesOf(store.layer("layers.1").outputs),
  );
  expect(optimizer.factorsDue).toBe(false);
  await optimizer.step(loss);
});

test("weights that layers share get momentum alone, and half a layer is refused", () => {
  class Tied extends Module {
    readonly first = new Linear(3, 3);
    readonly second = new Linear(3, 3);
    readonly third = new Linear(3, 3);
  }
  const model = new Tied();
  Object.assign(model.second, { weight: model.first.weight });
  using optimizer = new KFAC(model.parameters(), { model });
  expect(optimizer.layers).toEqual(["third"]);
  const half = [...model.parameters()].filter(({ name }) => name !== "third.bias");
  expect(() => new KFAC(half, { model })).toThrow(/weight and bias of third/);
  for (const bad of [
    { dampingMode: "both" },
    { fisher: "both" },
    { sharing: "both" },
    { factorInterval: 0 },
    { inverseInterval: 1.5 },
    { terms: 0 },
    { model: 3 },
  ])
    expect(() => new KFAC(model.parameters(), { model, ...bad } as never)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "osculate-kfac-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
