import { grad, mean, mul, reshape, scale, sum, tanh } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { gptq, inputGram } from "../../lib/index.js";
import {
  CurvatureStore,
  kroneckerFactors,
  perExampleGradients,
  sampleLabels,
} from "../../lib/curvature/index.js";
import { saveTensors } from "../../lib/formats/index.js";
import {
  Conv2d,
  crossEntropy,
  Embedding,
  InitialValues,
  LayerNorm,
  Linear,
  Module,
} from "../../lib/nn/index.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import { settledMemory } from "../helpers/live-memory.js";
import { expectWithin, randoms, valuesOf } from "../helpers/plain.js";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

function random(shape: readonly number[], seed: number): Tensor<"float64"> {
  const draw = randoms(seed);
  const size = shape.reduce((product, length) => product * length, 1);
  return Tensor.from(Float64Array.from({ length: size }, draw), shape);
}

const seeded = (seed: number) => ({ initial: new InitialValues(seed), dtype: "float64" }) as const;

/** Parts of every kind: words to vectors, an image of them, a convolution in groups, a norm and two linear layers, one used twice. */
class Net extends Module {
  readonly words = new Embedding(5, 4, seeded(1));
  readonly image = new Conv2d(4, 6, [2, 3], {
    groups: 2,
    padding: 1,
    stride: [1, 2],
    ...seeded(2),
  });
  readonly norm = new LayerNorm(6, seeded(3));
  readonly hidden = new Linear(6, 6, seeded(4));
  readonly output = new Linear(6, 3, { bias: false, ...seeded(5) });

  forward(indices: Tensor): Tensor {
    return scope(() => {
      const [batch = 0, places = 0] = indices.shape;
      const words = this.words.forward(indices); // [batch, places, 4]
      const pixels = reshape(words.permute([0, 2, 1]), [batch, 4, places / 3, 3]);
      const maps = tanh(this.image.forward(pixels));
      const rows = reshape(maps, [batch, 6, (maps.shape[2] ?? 0) * (maps.shape[3] ?? 0)]);
      const normed = this.norm.forward(rows.permute([0, 2, 1]));
      const twice = tanh(this.hidden.forward(tanh(this.hidden.forward(normed))));
      return mean(this.output.forward(twice), 1);
    });
  }
}

const words = (rows: number) =>
  Tensor.from(
    Array.from({ length: rows * 6 }, (_, i) => (i * i + 3 * i) % 5),
    [rows, 6],
    { dtype: "int32" },
  );
const labels = (rows: number) =>
  Tensor.from(
    Array.from({ length: rows }, (_, i) => (2 * i + 1) % 3),
    [rows],
    { dtype: "int32" },
  );

/** The mean of outer products of rows, in a plain loop. */
function outerMean(rows: readonly (readonly number[])[], divisor = rows.length): number[] {
  const n = rows[0]!.length;
  return Array.from(
    { length: n * n },
    (_, k) =>
      rows.reduce((total, row) => total + row[Math.floor(k / n)]! * row[k % n]!, 0) / divisor,
  );
}

test("one example and one place: the Kronecker product is the Fisher block, gradient by gradient", async () => {
  class Softmax extends Module {
    readonly layer = new Linear(3, 4, seeded(7));
  }
  const model = new Softmax();
  const x = random([1, 3], 8);
  const y = Tensor.from([2], [1], { dtype: "int32" });
  const loss = () => crossEntropy(model.layer.forward(x), y);
  using store = await kroneckerFactors(loss, model);
  const { inputs, outputs, bias, rows } = store.layer("layer");
  expect([bias, rows, inputs.shape, outputs.shape]).toEqual([true, 1, [4, 4], [4, 4]]);
  const [w, b] = grad(loss, [model.layer.weight, model.layer.bias!]).map(valuesOf);
  // Row by row with the bias last, as abar = [a; 1].
  const g = [0, 1, 2, 3].flatMap((o) => [...w!.slice(3 * o, 3 * o + 3), b![o]!]);
  const [A, G] = [valuesOf(inputs), valuesOf(outputs)];
  const block = g.flatMap((p) => g.map((q) => p * q));
  expectWithin(
    block,
    (k) => {
      const [p, q] = [Math.floor(k / 16), k % 16];
      return G[Math.floor(p / 4) * 4 + Math.floor(q / 4)]! * A[(p % 4) * 4 + (q % 4)]!;
    },
    () => 1e-15,
  );
});

describe.each(["expand", "reduce"] as const)("%s", (sharing) => {
  test("a linear layer over places: means of outer products", async () => {
    class Steps extends Module {
      readonly layer = new Linear(3, 2, seeded(11));
    }
    const model = new Steps();
    const x = random([4, 5, 3], 12);
    const target = random([4, 5, 2], 13);
    // Mean over 4 examples of a sum over places: the derivative by output (b, t) is target / 4.
    const loss = () => scale(sum(mul(model.layer.forward(x), target)), 1 / 4);
    using store = await kroneckerFactors(loss, model, { sharing });
    const { inputs, outputs, rows } = store.layer("layer");
    const [a, s] = [valuesOf(x), valuesOf(target)];
    const place = (values: Float64Array, n: number, k: number) => [
      ...values.slice(k * n, (k + 1) * n),
    ];
    const places = Array.from({ length: 20 }, (_, k) => k);
    const merged = (values: Float64Array, n: number, divisor: number) =>
      [0, 1, 2, 3].map((b) =>
        Array.from({ length: n }, (_, i) =>
          [0, 1, 2, 3, 4].reduce((total, t) => total + values[(b * 5 + t) * n + i]! / divisor, 0),
        ),
      );
    const [ins, outs] =
      sharing === "expand"
        ? [places.map((k) => place(a, 3, k)), places.map((k) => place(s, 2, k))]
        : [merged(a, 3, 5), merged(s, 2, 1)];
    const A = outerMean(ins.map((row) => [...row, 1]));
    const G = outerMean(outs, 4);
    expect(rows).toBe(ins.length);
    expectWithin(
      valuesOf(inputs),
      (k) => A[k]!,
      () => 1e-14,
    );
    expectWithin(
      valuesOf(outputs),
      (k) => G[k]!,
      () => 1e-14,
    );
  });
});

test("a convolution sees its patches, an embedding its frequencies; batches and terms are averaged", async () => {
  const model = new Net();
  const [x, y] = [words(2), labels(2)];
  const loss = (k: number) => scale(crossEntropy(model.forward(x), y), k + 1);
  using store = await kroneckerFactors(loss, model, { batches: 2 });
  expect([...store.layers.keys()]).toEqual(["words", "image", "hidden", "output"]);
  const frequencies = [0, 1, 2, 3, 4].map(
    (w) => [...valuesOf(x)].filter((value) => value === w).length / 12,
  );
  expectWithin(
    valuesOf(store.layer("words").inputs),
    (k) => frequencies[k]!,
    () => 1e-15,
  );
  // [groups, (channels / groups) 2 3 + 1, ...] of images [2, 4, 2, 3], padded by 1, stride [1, 2].
  const images = valuesOf(model.words.forward(x)); // [2, 6, 4]
  const pixel = (b: number, c: number, i: number, j: number) =>
    i < 0 || i > 1 || j < 0 || j > 2 ? 0 : images[(b * 6 + 3 * i + j) * 4 + c]!;
  const taps = [0, 1].flatMap((c) =>
    [0, 1].flatMap((u) => [0, 1, 2].map((v) => [c, u, v] as const)),
  );
  const rows = (group: number) =>
    [0, 1].flatMap((b) =>
      [0, 1, 2].flatMap((i) =>
        [0, 1].map((j) => [
          ...taps.map(([c, u, v]) => pixel(b, 2 * group + c, i - 1 + u, 2 * j - 1 + v)),
          1,
        ]),
      ),
    );
  const { inputs, outputs } = store.layer("image");
  expect([inputs.shape, outputs.shape]).toEqual([
    [2, 13, 13],
    [2, 3, 3],
  ]);
  const expectedInputs = [0, 1].flatMap((group) => outerMean(rows(group)));
  expectWithin(
    valuesOf(inputs),
    (k) => expectedInputs[k]!,
    () => 1e-13,
  );
  // Doubling the loss makes G four times as large: the mean over both batches is 2.5 times the first alone.
  using first = await kroneckerFactors(() => loss(0), model);
  using terms = await kroneckerFactors(() => loss(0), model, { terms: 6 });
  for (const [name, { outputs: mean }] of store.layers) {
    const one = valuesOf(first.layer(name).outputs);
    expectWithin(
      valuesOf(mean),
      (k) => 2.5 * one[k]!,
      () => 1e-13,
    );
    const three = valuesOf(terms.layer(name).outputs);
    expectWithin(
      three,
      (k) => 3 * one[k]!,
      () => 1e-13,
    );
  }
  // A layer that is used twice has twice the rows.
  expect([store.layer("output").rows, store.layer("hidden").rows]).toEqual([24, 48]);
});

test("per-example gradients are those of batches of one", async () => {
  const model = new Net();
  const [x, y] = [words(4), labels(4)];
  const example = (b: number) =>
    crossEntropy(model.forward(x.slice(0, b, b + 1)), y.slice(0, b, b + 1));
  const found = await perExampleGradients(() => crossEntropy(model.forward(x), y), model, {
    exampleLoss: example,
  });
  const params = [...model.parameters()];
  expect(found.examples).toBe(4);
  expect([...found.gradients.keys()]).toEqual(params.map(({ name }) => name));
  for (let b = 0; b < 4; ++b) {
    const alone = grad(
      () => example(b),
      params.map(({ tensor }) => tensor),
    );
    params.forEach(({ name, tensor }, i) => {
      const all = found.gradients.get(name)!;
      expect(all.shape).toEqual([4, ...tensor.shape]);
      const one = valuesOf(alone[i]!);
      expect(one.some((value) => value !== 0)).toBe(true);
      expectWithin(
        valuesOf(all.slice(0, b, b + 1)),
        (k) => one[k]!,
        () => 1e-14,
      );
    });
  }
  found.dispose();
});

test("the factor of a layer in place of a gram gives gptq the same codes", async () => {
  class Two extends Module {
    readonly first = new Linear(24, 16, { initial: new InitialValues(3) });
    readonly second = new Linear(16, 4, { initial: new InitialValues(4) });
    forward = (x: Tensor) => scope(() => this.second.forward(tanh(this.first.forward(x))));
  }
  const model = new Two();
  const x = Tensor.from(Float32Array.from({ length: 96 * 24 }, randoms(5)), [96, 24]);
  const y = Tensor.from(
    Array.from({ length: 96 }, (_, i) => i % 4),
    [96],
    { dtype: "int32" },
  );
  using store = await kroneckerFactors(() => crossEntropy(model.forward(x), y), model);
  const path = join(folder, "store.safetensors");
  await store.save(path);
  using loaded = await CurvatureStore.load(path);
  using gram = inputGram(24);
  await gram.add(x);
  using factor = loaded.gram("first");
  expect(factor.shape).toEqual([24, 24]);
  for (const bits of [3, 4] as const) {
    const [one, two] = [
      await gptq(model.first.weight, gram, { bits, groupSize: 8 }),
      await gptq(model.first.weight, factor, { bits, groupSize: 8 }),
    ];
    expect(two.codes).toEqual(one.codes);
    expect(two.scales).toEqual(one.scales);
  }
});

test("labels are drawn from the model", () => {
  const probabilities = [0.1, 0.2, 0.7];
  const draws = 20000;
  const logits = Tensor.from(probabilities.map(Math.log), [1, 3]).expand([draws, 3]);
  const drawn = sampleLabels(logits, { seed: 1 }).dataSync();
  probabilities.forEach((p, label) => {
    const share = drawn.filter((value) => value === label).length / draws;
    expect(Math.abs(share - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws));
  });
  expect(sampleLabels(logits, { seed: 1 }).dataSync()).toEqual(drawn);
  expect(sampleLabels(logits, { seed: 2 }).dataSync()).not.toEqual(drawn);
});

test("the true Fisher matrix of a softmax is what drawn labels give", async () => {
  class Softmax extends Module {
    readonly layer = new Linear(1, 3, { bias: false, ...seeded(2) });
  }
  const model = new Softmax();
  const x = Tensor.from(new Float64Array(20000).fill(1), [20000, 1]);
  const logits = model.layer.forward(x);
  const y = sampleLabels(logits, { seed: 5 });
  using store = await kroneckerFactors(() => crossEntropy(model.layer.forward(x), y), model);
  const row = [...valuesOf(logits)].slice(0, 3).map(Math.exp);
  const p = row.map((e) => e / row.reduce((a, b) => a + b));
  const G = valuesOf(store.layer("layer").outputs);
  // diag(p) - p p^T; an entry is a mean of 20000 numbers of standard deviation below 0.5.
  expectWithin(
    G,
    (k) => (k % 4 === 0 ? p[k % 3]! : 0) - p[Math.floor(k / 3)]! * p[k % 3]!,
    () => 5 * (0.5 / Math.sqrt(20000)),
  );
});

test("a file that is no store is refused", async () => {
  class One extends Module {
    readonly layer = new Linear(2, 2);
  }
  const model = new One();
  const x = Tensor.from([1, 2], [1, 2]);
  using store = await kroneckerFactors(() => sum(model.layer.forward(x)), model);
  const good = join(folder, "good.safetensors");
  await store.save(good);
  using again = await CurvatureStore.load(good);
  expect(valuesOf(again.layer("layer").inputs)).toEqual(valuesOf(store.layer("layer").inputs));
  const { inputs, outputs } = store.layer("layer");
  const fields = { kind: "osculate.curvature_store", version: "1" };
  const layers = '{"layer":{"bias":true,"rows":1}}';
  const both = new Map([
    ["layer.inputs", inputs],
    ["layer.outputs", outputs],
  ]);
  const path = join(folder, "bad.safetensors");
  for (const [tensors, metadata, message] of [
    [both, {}, /kind is not given/],
    [both, { ...fields, version: "9", layers }, /version is 9/],
    [both, { ...fields, layers: "{" }, /no JSON/],
    [both, { ...fields, layers: "[]" }, /no object/],
    [both, { ...fields, layers: '{"layer":{"bias":1,"rows":1}}' }, /no bias or rows/],
    [new Map([["layer.inputs", inputs]]), { ...fields, layers }, /layer.outputs is missing/],
    [new Map([...both, ["more", inputs]]), { ...fields, layers }, /tensors of no layer/],
  ] as const) {
    await saveTensors(path, tensors, metadata);
    await expect(CurvatureStore.load(path)).rejects.toMatchObject({
      code: "FORMAT",
      message: expect.stringMatching(message) as string,
    });
  }
  expect(() => store.gram("nobody")).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  expect(() => store.gram("layer", 1)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  store.dispose();
  expect(() => store.gram("layer")).toThrow(expect.objectContaining({ code: "DISPOSED" }));
});

test("bad input, aborts and errors free what was made and leave the layers as they were", async () => {
  const model = new Net();
  const [x, y] = [words(2), labels(2)];
  const loss = () => crossEntropy(model.forward(x), y);
  class Empty extends Module {}
  const live = (await settledMemory()).liveBlocks;
  const factors: [() => Promise<unknown>, string][] = [
    [() => kroneckerFactors(loss, new Empty()), "ARGUMENT"],
    [() => kroneckerFactors(loss, model, { layers: ["nobody"] }), "ARGUMENT"],
    [() => kroneckerFactors(loss, model, { sharing: "both" as never }), "ARGUMENT"],
    [() => kroneckerFactors(loss, model, { terms: 0 }), "ARGUMENT"],
    [() => kroneckerFactors(loss, model, { batches: 0 }), "ARGUMENT"],
    [() => kroneckerFactors(() => sum(model.output.weight), model), "ARGUMENT"],
    [() => kroneckerFactors(loss, model, { signal: AbortSignal.abort() }), "ABORTED"],
    [() => kroneckerFactors(() => scale(loss(), Number.NaN), model), "NON_FINITE"],
    [() => perExampleGradients(loss, model), "ARGUMENT"],
    [
      () => perExampleGradients(() => scale(loss(), Infinity), model, { layers: ["output"] }),
      "NON_FINITE",
    ],
    [() => perExampleGradients(loss, model, { layers: ["x"] }), "ARGUMENT"],
  ];
  for (const [run, code] of factors) await expect(run()).rejects.toMatchObject({ code });
  const failing = () => {
    throw new Error("from the loss");
  };
  await expect(kroneckerFactors(failing, model)).rejects.toThrow("from the loss");
  expect(model.hidden.hook).toBeUndefined();
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(live);
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "osculate-curvature-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
