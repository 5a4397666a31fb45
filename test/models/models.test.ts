import {
  add,
  crossEntropy,
  grad,
  gradcheck,
  mul,
  scale,
  sin,
  sub,
  valueAndGrad,
} from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { cnn, mlp, siren, transformerLM } from "../../lib/models/index.js";
import { InitialValues, mseLoss, type Module } from "../../lib/nn/index.js";
import { copyInto } from "../../lib/ops/copy.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";
import { settledMemory } from "../helpers/live-memory.js";

const initial = () => new InitialValues(3);
const tensors = (model: Module) => [...model.parameters()].map(({ tensor }) => tensor);
const count = (model: Module) => tensors(model).reduce((n, t) => n + t.size, 0);
const ints = (values: number[], shape: number[]) => Tensor.from(Int32Array.from(values), shape);

/** Plain gradient descent: returns the loss before and after. */
function descend(model: Module, loss: () => Tensor, lr: number, steps: number): [number, number] {
  const params = tensors(model);
  const losses: number[] = [];
  for (let i = 0; i <= steps; ++i)
    scope(() => {
      const { value, gradients } = valueAndGrad(loss, params);
      losses.push(valuesOf(value)[0]!);
      params.forEach((p, k) => {
        copyInto("test", sub(p, scale(gradients[k]!, lr)), p);
      });
    });
  return [losses[0]!, losses.at(-1)!];
}

const tokens = ints([1, 5, 2, 0, 3, 3, 4, 1], [2, 4]);
const next = ints([5, 2, 0, 6, 3, 4, 1, 2], [2, 4]);
const size = { vocabulary: 7, context: 4, width: 8, layers: 2, heads: 2 };

describe("sizes", () => {
  test("parameters are as many as the architectures say", () => {
    expect(count(mlp([784, 512, 512, 10]))).toBe(784 * 512 + 512 + 512 * 512 + 512 + 5130);
    // 0.27 million for ResNet-20, and its two 1 x 1 shortcuts with their norms
    expect(count(cnn())).toBe(269_722 + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64);
    expect(count(siren([2, 16, 3]))).toBe(2 * 16 + 16 + 16 * 3 + 3);
    const block = 4 * (64 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + 4 * 8;
    expect(count(transformerLM(size))).toBe(7 * 8 + 4 * 8 + 2 * block + 16);
    const llama = 4 * 64 + 3 * 8 * 24 + 2 * 8;
    expect(count(transformerLM({ ...size, style: "llama" }))).toBe(7 * 8 + 2 * llama + 8 + 7 * 8);
  });
});

describe("learn", () => {
  test("mlp and siren fit values", () => {
    const x = toTensor(randomPlain([16, 2], 1), "float32");
    const y = add(sin(scale(x.slice(1, 0, 1), 2)), x.slice(1, 1, 2));
    for (const [model, lr] of [
      [mlp([2, 16, 1], { activation: "tanh", initial: initial() }), 0.2],
      [siren([2, 16, 1], { omega: 5, initial: initial() }), 0.02],
    ] as const) {
      const [before, after] = descend(model, () => mseLoss(model.forward(x), y), lr, 100);
      expect(after).toBeLessThan(0.5 * before);
    }
  });

  test("cnn", () => {
    const model = cnn({ channels: 1, classes: 3, width: 2, blocks: 1, initial: initial() });
    const x = toTensor(randomPlain([6, 1, 8, 8], 1), "float32");
    const y = ints([0, 1, 2, 0, 1, 2], [6]);
    expect(model.forward(x).shape).toEqual([6, 3]);
    const [before, after] = descend(model, () => crossEntropy(model.forward(x), y), 0.2, 40);
    expect(after).toBeLessThan(0.5 * before);
  });

  test.each(["gpt", "llama"] as const)("%s", (style) => {
    const model = transformerLM({ ...size, style, initial: initial() });
    const [before, after] = descend(
      model,
      () => crossEntropy(model.forward(tokens), next),
      0.5,
      60,
    );
    expect(Math.abs(before - Math.log(7))).toBeLessThan(0.2); // it starts without an opinion
    expect(after).toBeLessThan(0.6 * before);
  });
});

describe.each(["gpt", "llama"] as const)("%s", (style) => {
  const model = transformerLM({ ...size, style, dtype: "float64", initial: initial() });

  test("a token has no influence on what comes before it", () => {
    const changed = ints([1, 5, 6, 0, 3, 3, 0, 1], [2, 4]);
    const [a, b] = [tokens, changed].map((t) => valuesOf(model.forward(t)));
    for (let i = 0; i < a!.length; ++i) {
      const place = Math.floor(i / 7) % 4;
      if (place < 2) expect(b![i]).toBe(a![i]);
    }
    expect(b).not.toEqual(a);
  });

  test("first and second derivatives", () => {
    const loss = () => crossEntropy(model.forward(tokens), next);
    const report = gradcheck(loss, tensors(model), { samples: 3 });
    expect(report.failures.slice(0, 3)).toEqual([]);
  });

  test("nothing is left over, in training and in use", async () => {
    const before = (await settledMemory()).liveBlocks;
    model.forward(tokens).dispose();
    for (const g of grad(() => crossEntropy(mul(model.forward(tokens), 2), next), tensors(model)))
      g.dispose();
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
  });
});

test("first and second derivatives of the cnn", () => {
  const model = cnn({
    channels: 1,
    classes: 2,
    width: 1,
    blocks: 1,
    dtype: "float64",
    initial: initial(),
  });
  const x = toTensor(randomPlain([3, 1, 4, 4], 1), "float64");
  const report = gradcheck(
    () => crossEntropy(model.forward(x), ints([0, 1, 1], [3])),
    tensors(model),
    {
      samples: 4,
      tolerance: 1e-5,
    },
  );
  expect(report.failures.slice(0, 3)).toEqual([]);
});

test.each<[string, () => unknown, string]>([
  ["one size", () => mlp([3]), "mlp: expected two or more sizes"],
  ["no frequency", () => siren([2, 1], { omega: 0 }), "siren: expected a number above 0 for omega"],
  [
    "heads that do not divide",
    () => transformerLM({ ...size, heads: 3 }),
    "transformerLM: expected a divisor of 8",
  ],
  [
    "an odd head of a llama",
    () => transformerLM({ ...size, heads: 8, style: "llama" }),
    "that leaves an even size",
  ],
  [
    "another style",
    () => transformerLM({ ...size, style: "bert" as "gpt" }),
    'transformerLM: expected "gpt" or "llama"',
  ],
  [
    "too many places",
    () => transformerLM(size).forward(ints([0, 1, 2, 3, 4], [1, 5])),
    "expected shape [batch, 1 to 4] for tokens but received [1, 5]",
  ],
])("refuses %s", (_, run, message) => {
  expect(run).toThrow(message);
});
