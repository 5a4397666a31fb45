import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ad from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { loadTensors, saveTensors } from "../../lib/formats/index.js";
import * as nn from "../../lib/nn/index.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import {
  at,
  expectWithin,
  plain,
  randomPlain,
  toPlain,
  toTensor,
  valuesOf,
  type Plain,
} from "../helpers/plain.js";
import { settledMemory } from "../helpers/live-memory.js";

const initial = () => new nn.InitialValues(7);
const wide = () => ({ dtype: "float64" as const, initial: initial() });
const input = (shape: number[], seed = 1) => toTensor(randomPlain(shape, seed), "float64");
const names = (module: nn.Module) => [...module.parameters()].map(({ name }) => name);
const tensors = (module: nn.Module) => [...module.parameters()].map(({ tensor }) => tensor);
const byName = (module: nn.Module) =>
  Object.fromEntries([...module.parameters()].map(({ name, tensor }) => [name, toPlain(tensor)]));

describe("parameters and state", () => {
  const block = () => new nn.TransformerBlock(8, 2, wide());

  test("are named by path, in the order of the fields; a shared tensor comes once", () => {
    expect(names(block())).toEqual([
      "attentionNorm.weight",
      "attentionNorm.bias",
      ...["query", "key", "value", "output"].flatMap((part) => [
        `attention.${part}.weight`,
        `attention.${part}.bias`,
      ]),
      "feedForwardNorm.weight",
      "feedForwardNorm.bias",
      "feedForward.up.weight",
      "feedForward.up.bias",
      "feedForward.down.weight",
      "feedForward.down.bias",
    ]);
    const layer = new nn.Linear(2, 2, { bias: false });
    const twice = new nn.Sequential(layer, ad.relu, layer);
    expect(names(twice)).toEqual(["stages.0.weight"]);
    expect([...new nn.Sequential(new nn.BatchNorm(3)).stateDict().keys()]).toEqual([
      "stages.0.weight",
      "stages.0.bias",
      "stages.0.running_mean",
      "stages.0.running_var",
    ]);
  });

  test("go to safetensors and back, bit for bit", async () => {
    const folder = mkdtempSync(join(tmpdir(), "osculate-nn-"));
    try {
      const path = join(folder, "model.safetensors");
      const from = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm(4));
      from.forward(Tensor.from([1, 2, 3, -4, 5, 6], [2, 3])).dispose();
      await saveTensors(path, from.stateDict());
      const to = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm(4));
      const { tensors: loaded } = await loadTensors(path);
      to.loadStateDict(loaded);
      for (const [name, tensor] of from.stateDict())
        expect(valuesOf(to.stateDict().get(name)!)).toEqual(valuesOf(tensor));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("of another model are refused by name, and nothing changes", () => {
    const model = new nn.Linear(2, 3);
    const before = [...valuesOf(model.weight)];
    const weight = Tensor.zeros([3, 2]);
    const bias = Tensor.zeros([3]);
    const load = (state: Record<string, Tensor>) => () => {
      model.loadStateDict(new Map(Object.entries(state)));
    };
    expect(load({ weight })).toThrow(
      "the state is of another model: missing bias; not in the model nothing",
    );
    expect(load({ weight, bias, scale: bias })).toThrow("missing nothing; not in the model scale");
    expect(load({ weight, bias: Tensor.zeros([2]) })).toThrow(
      "loadStateDict: expected shape [3] for bias but received [2]",
    );
    expect(load({ weight, bias: Tensor.zeros([3], { dtype: "float64" }) })).toThrow(
      "expected float32 for the dtype of bias",
    );
    expect([...valuesOf(model.weight)]).toEqual(before);
    load({ weight, bias })();
    expect([...valuesOf(model.weight)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("the same seed gives the same model, and layers differ", () => {
    const [a, b] = [block(), block()];
    for (const [name, tensor] of a.stateDict())
      expect(valuesOf(b.stateDict().get(name)!)).toEqual(valuesOf(tensor));
    expect(valuesOf(a.attention.query.weight)).not.toEqual(valuesOf(a.attention.key.weight));
  });
});

describe("initial values", () => {
  test.each<[string, nn.Initializer, number, number | undefined]>([
    ["normal", nn.init.normal(0.3), 0.3, undefined],
    ["uniform", nn.init.uniform(0.6), 0.6 / Math.sqrt(3), 0.6],
    ["xavierUniform", nn.init.xavierUniform, Math.sqrt(2 / 500), Math.sqrt(6 / 500)],
    ["xavierNormal", nn.init.xavierNormal, Math.sqrt(2 / 500), undefined],
    ["kaimingNormal", nn.init.kaimingNormal, Math.sqrt(2 / 200), undefined],
    ["fanInUniform", nn.init.fanInUniform, 1 / Math.sqrt(600), 1 / Math.sqrt(200)],
  ])("%s: mean, deviation, bound", (_, init, deviation, bound) => {
    const values = valuesOf(init([300, 200], { initial: initial() }));
    const n = values.length;
    const mean = values.reduce((s, v) => s + v, 0) / n;
    const variance = values.reduce((s, v) => s + (v - mean) ** 2, 0) / n;
    // five standard errors
    expect(Math.abs(mean)).toBeLessThan((5 * deviation) / Math.sqrt(n));
    expect(Math.abs(variance / deviation ** 2 - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
    if (bound !== undefined)
      expect(values.every((v) => Math.abs(v) <= bound * (1 + 1e-6))).toBe(true);
  });
});

describe("derivatives of modules, first and second", () => {
  const angles = ad.rotaryAngles(3, 4, { dtype: "float64" });
  const ids = Tensor.from(new Int32Array([0, 4, 4, 2]), [2, 2]);
  const modules: [string, nn.Module, (module: never, x: Tensor) => Tensor | Tensor[], number[]][] =
    [
      ["Linear", new nn.Linear(3, 2, wide()), (m: nn.Linear, x) => m.forward(x), [2, 3]],
      [
        "Conv2d",
        new nn.Conv2d(2, 3, 2, { ...wide(), padding: 1 }),
        (m: nn.Conv2d, x) => m.forward(x),
        [1, 2, 3, 3],
      ],
      [
        "Embedding",
        new nn.Embedding(5, 2, wide()),
        (m: nn.Embedding, x) => ad.mul(m.forward(ids), x),
        [2, 2, 2],
      ],
      ["LayerNorm", new nn.LayerNorm(4, wide()), (m: nn.LayerNorm, x) => m.forward(x), [3, 4]],
      ["RMSNorm", new nn.RMSNorm(4, wide()), (m: nn.RMSNorm, x) => m.forward(x), [3, 4]],
      ["BatchNorm", new nn.BatchNorm(2, wide()), (m: nn.BatchNorm, x) => m.forward(x), [3, 2, 2]],
      [
        "LSTM",
        new nn.LSTM(2, 3, wide()),
        (m: nn.LSTM, x) => {
          const { outputs, state } = m.forward(x);
          return [outputs, state.c];
        },
        [2, 3, 2],
      ],
      [
        "MultiHeadAttention",
        new nn.MultiHeadAttention(8, 2, { ...wide(), keyHeads: 1 }),
        (m: nn.MultiHeadAttention, x) => m.forward(x, { causal: true, angles }),
        [1, 3, 8],
      ],
      [
        "TransformerBlock",
        new nn.TransformerBlock(4, 2, { ...wide(), hidden: 6 }),
        (m: nn.TransformerBlock, x) => m.forward(x),
        [1, 3, 4],
      ],
      [
        "TransformerBlock, Llama style",
        new nn.TransformerBlock(4, 1, {
          ...wide(),
          hidden: 5,
          norm: "rms",
          gated: true,
          activation: "silu",
          bias: false,
        }),
        (m: nn.TransformerBlock, x) => m.forward(x, { causal: true, angles }),
        [1, 3, 4],
      ],
      [
        "TransformerBlock that reads",
        new nn.TransformerBlock(4, 2, { ...wide(), hidden: 5, crossAttention: true }),
        (m: nn.TransformerBlock, x) => m.forward(x, { memory: ad.sin(x), causal: true }),
        [1, 2, 4],
      ],
    ];
  test.each(modules)("%s", (_, module, forward, shape) => {
    const x = input(shape);
    const report = ad.gradcheck(() => forward(module as never, x), [x, ...tensors(module)], {
      samples: 12,
      tolerance: 1e-5,
    });
    expect(report.failures.slice(0, 3)).toEqual([]);
  });

  test("nothing is left over in use, and the results stay", async () => {
    const block = new nn.TransformerBlock(4, 2, wide()).train(false);
    const x = input([1, 3, 4]);
    const before = (await settledMemory()).liveBlocks;
    const y = block.forward(x);
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before + 1);
    y.dispose();
  });
});

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const row = (m: Plain, i: number) => m.values.subarray(i * m.shape[1]!, (i + 1) * m.shape[1]!);
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((s, v, i) => s + v * b[i]!, 0);

test("LSTM against its equations, step by step", () => {
  const [batch, steps, inputs, hidden] = [2, 4, 3, 2];
  const lstm = new nn.LSTM(inputs, hidden, wide());
  const x = randomPlain([batch, steps, inputs], 3);
  const {
    inputWeight: w,
    hiddenWeight: u,
    bias,
  } = byName(lstm) as Record<"inputWeight" | "hiddenWeight" | "bias", Plain>;
  const expected = new Float64Array(batch * steps * hidden);
  for (let b = 0; b < batch; ++b) {
    let h = new Float64Array(hidden);
    const c = new Float64Array(hidden);
    for (let t = 0; t < steps; ++t) {
      const xt = x.values.subarray((b * steps + t) * inputs, (b * steps + t + 1) * inputs);
      const gate = (k: number, j: number) =>
        dot(row(w, k * hidden + j), xt) +
        dot(row(u, k * hidden + j), h) +
        bias.values[k * hidden + j]!;
      const next = new Float64Array(hidden);
      for (let j = 0; j < hidden; ++j) {
        c[j] = sigmoid(gate(1, j)) * c[j]! + sigmoid(gate(0, j)) * Math.tanh(gate(2, j));
        next[j] = sigmoid(gate(3, j)) * Math.tanh(c[j]!);
      }
      h = next;
      expected.set(h, (b * steps + t) * hidden);
    }
  }
  const { outputs, state } = lstm.forward(toTensor(x, "float64"));
  expectWithin(
    valuesOf(outputs),
    (i) => expected[i]!,
    () => 1e-14,
  );
  const last = [...expected].filter((_, i) => Math.floor(i / hidden) % steps === steps - 1);
  expect([...valuesOf(state.h)]).toEqual(
    [...valuesOf(outputs)].filter((_, i) => Math.floor(i / hidden) % steps === steps - 1),
  );
  expectWithin(
    valuesOf(state.h),
    (i) => last[i]!,
    () => 1e-14,
  );
  // two halves with the state between
  const sequence = toTensor(x, "float64");
  const first = lstm.forward(sequence.slice(1, 0, 2));
  const second = lstm.forward(sequence.slice(1, 2, 4), first.state);
  expectWithin(
    valuesOf(second.state.c),
    (i) => valuesOf(state.c)[i]!,
    () => 1e-14,
  );
});

test("MultiHeadAttention against loops over heads, with shared keys", () => {
  const [places, width, heads, size] = [4, 8, 4, 2];
  const module = new nn.MultiHeadAttention(width, heads, { ...wide(), keyHeads: 2 });
  const p = byName(module) as Record<string, Plain>;
  const x = randomPlain([1, places, width], 5);
  const apply = (part: string, from: Plain): Plain => {
    const w = p[`${part}.weight`]!;
    return plain(
      [places, w.shape[0]!],
      ([t, o]) =>
        dot(row(w, o!), row({ shape: [places, width], values: from.values }, t!)) +
        p[`${part}.bias`]!.values[o!]!,
    );
  };
  const [q, k, v] = ["query", "key", "value"].map((part) => apply(part, x)) as [
    Plain,
    Plain,
    Plain,
  ];
  const mixed = plain([places, width], ([t, c]) => {
    const head = Math.floor(c! / size);
    const shared = Math.floor(head / 2);
    const weights = Array.from({ length: t! + 1 }, (_, s) => {
      let product = 0;
      for (let i = 0; i < size; ++i)
        product += at(q, [t!, head * size + i]) * at(k, [s, shared * size + i]);
      return Math.exp(product / Math.sqrt(size));
    });
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.reduce(
      (s, e, place) => s + (e / total) * at(v, [place, shared * size + (c! % size)]),
      0,
    );
  });
  const y = module.forward(toTensor(x, "float64"), { causal: true });
  const expected = apply("output", mixed);
  expectWithin(
    valuesOf(y),
    (i) => expected.values[i]!,
    () => 1e-13,
  );
});

describe("training and use", () => {
  test("dropout: the same within a step, other ones in the next, none in use", () => {
    const drop = new nn.Dropout(0.5, initial());
    const other = new nn.Dropout(0.5, new nn.InitialValues(8));
    const model = new nn.Sequential(drop);
    const x = Tensor.from(new Float32Array(1000).fill(1));
    const draw = (module: nn.Dropout = drop) => [...valuesOf(module.forward(x))];
    const first = draw();
    expect(draw()).toEqual(first);
    expect(new Set(first)).toEqual(new Set([0, 2]));
    const kept = first.filter((v) => v === 2).length;
    expect(Math.abs(kept - 500)).toBeLessThan(5 * Math.sqrt(250));
    expect(draw(other)).not.toEqual(first);
    model.setStep(1);
    expect(draw()).not.toEqual(first);
    model.setStep(0);
    expect(draw()).toEqual(first);
    model.train(false);
    expect(draw()).toEqual([...valuesOf(x)]);
    expect(() => new nn.Dropout(1)).toThrow("Dropout: expected a number from 0 to below 1");
  });

  test("batch norm: running averages, and what they do in use", () => {
    const norm = new nn.BatchNorm(1, { dtype: "float64", momentum: 0.25 });
    const x = Tensor.from(new Float64Array([1, 3, 5, 7]), [4, 1]);
    norm.forward(x);
    expect(valuesOf(norm.buffers["running_mean"]!)[0]).toBeCloseTo(0.25 * 4, 14);
    expect(valuesOf(norm.buffers["running_var"]!)[0]).toBeCloseTo(0.75 + 0.25 * 5, 12);
    norm.track = false;
    norm.forward(x);
    expect(valuesOf(norm.buffers["running_mean"]!)[0]).toBeCloseTo(1, 14);
    norm.train(false);
    expectWithin(
      valuesOf(norm.forward(x)),
      (i) => (2 * i + 1 - 1) / Math.sqrt(2 + 1e-5),
      () => 1e-12,
    );
  });

  test("a hook sees both sides of a layer and may replace the output", () => {
    const layer = new nn.Linear(2, 3, wide());
    const x = input([4, 2]);
    const probe = Tensor.zeros([4, 3], { dtype: "float64" });
    const seen: number[][] = [];
    layer.hook = (a, y) => {
      seen.push([...a.shape], [...y.shape]);
      return ad.add(y, probe);
    };
    // The gradient by the probe is the gradient by the output of the layer.
    const [g] = ad.grad(() => ad.sum(ad.square(layer.forward(x))), [probe]);
    layer.hook = undefined;
    expect(seen).toEqual([
      [4, 2],
      [4, 3],
    ]);
    const y = valuesOf(layer.forward(x));
    expectWithin(
      valuesOf(g!),
      (i) => 2 * y[i]!,
      () => 1e-14,
    );
  });

  test("a block that reads needs something to read, and no other takes it", () => {
    const x = input([1, 2, 4]);
    const reads = new nn.TransformerBlock(4, 2, { ...wide(), crossAttention: true });
    expect(() => reads.forward(x)).toThrow("TransformerBlock: expected memory");
    expect(() => new nn.TransformerBlock(4, 2, wide()).forward(x, { memory: x })).toThrow(
      "TransformerBlock: expected memory",
    );
  });
});

describe("losses", () => {
  const outputs = randomPlain([3, 4], 1, (u) => 3 * u);
  const targets = randomPlain([3, 4], 2, (u) => (u + 1) / 2);
  const huber = (d: number) => (Math.abs(d) < 0.7 ? (d * d) / 2 : 0.7 * (Math.abs(d) - 0.35));
  test.each<
    [
      string,
      (x: Tensor, y: Tensor, options?: nn.LossOptions) => Tensor,
      (x: number, y: number) => number,
    ]
  >([
    ["mseLoss", nn.mseLoss, (x, y) => (x - y) ** 2],
    ["l1Loss", nn.l1Loss, (x, y) => Math.abs(x - y)],
    [
      "huberLoss",
      (x, y, options) => nn.huberLoss(x, y, { ...options, delta: 0.7 }),
      (x, y) => huber(x - y),
    ],
    [
      "binaryCrossEntropyWithLogits",
      nn.binaryCrossEntropyWithLogits,
      (z, t) => -t * Math.log(sigmoid(z)) - (1 - t) * Math.log(1 - sigmoid(z)),
    ],
  ])("%s: values, reductions, derivatives, shapes", (name, loss, f) => {
    const x = toTensor(outputs, "float64");
    const y = toTensor(targets, "float64");
    const elements = outputs.values.map((v, i) => f(v, targets.values[i]!));
    const total = elements.reduce((a, b) => a + b, 0);
    scope(() => {
      expectWithin(
        valuesOf(loss(x, y, { reduction: "none" })),
        (i) => elements[i]!,
        () => 1e-13,
      );
      expect(valuesOf(loss(x, y, { reduction: "sum" }))[0]).toBeCloseTo(total, 12);
      expect(valuesOf(loss(x, y))[0]).toBeCloseTo(total / 12, 13);
    });
    expect(ad.gradcheck(() => loss(x, y), [x, y]).failures.slice(0, 3)).toEqual([]);
    expect(() => loss(x, y.slice(0, 0, 1))).toThrow(
      `${name}: expected targets of the shape of the outputs but received [3, 4] and [1, 4]`,
    );
    expect(() => loss(x, y, { reduction: "most" as "sum" })).toThrow('"mean", "sum" or "none"');
  });

  test("large logits stay finite", () => {
    const z = Tensor.from([1000, -1000], [2]);
    const t = Tensor.from([1, 1], [2]);
    expect([...valuesOf(nn.binaryCrossEntropyWithLogits(z, t, { reduction: "none" }))]).toEqual([
      0, 1000,
    ]);
  });
});
