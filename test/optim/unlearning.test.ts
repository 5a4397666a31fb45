/** The losses of SOUL: the specification's numbers, limits, and a small model that forgets. */
import { crossEntropy, grad, linear, scale } from "../../lib/autodiff/index.js";
import {
  AdamW,
  retainDivergence,
  Sophia,
  soul,
  unlearningLoss,
  type UnlearningMethod,
} from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";

const number = (x: Tensor) => Number(x.dataSync()[0]);
const scalar = (x: number) => Tensor.from(Float64Array.of(x), [], { dtype: "float64" });

test.each([
  [0, 13.86294361, -1],
  [1, 12.8879332, -0.95004163],
  [-1, 14.8879332, -1.04995837],
  [10, 6.26523375, -0.53788284],
])("NPO at d = %d", (d, value, slope) => {
  const forget = scalar(2 + d);
  const method = { kind: "npo", reference: 2, gamma: 0 } as const;
  const loss = () => unlearningLoss({ forget, retain: scalar(7) }, method);
  expect(Math.abs(number(loss()) - value)).toBeLessThan(1e-7);
  expect(Math.abs(number(grad(loss, [forget])[0]!) - slope)).toBeLessThan(1e-7);
});

test("as beta falls NPO's gradient becomes that of gradient ascent", () => {
  const forget = scalar(5);
  const method = { kind: "npo", reference: 2, beta: 1e-6 } as const;
  const [slope] = grad(() => unlearningLoss({ forget, retain: scalar(0) }, method), [forget]);
  expect(Math.abs(number(slope!) + 1)).toBeLessThan(1e-5);
});

test("the others are sums, with the authors' gammas", () => {
  const terms = { forget: scalar(3), retain: scalar(0.5) };
  const of = (method: UnlearningMethod) => number(unlearningLoss(terms, method));
  expect(of({ kind: "gradientDifference" })).toBe(-3 + 2 * 0.5);
  expect(of({ kind: "gradientDifference", gamma: 0.25 })).toBe(-3 + 0.125);
  expect(of({ kind: "preference" })).toBe(3 + 5 * 0.5);
  expect(number(unlearningLoss({ forget: scalar(3) }, { kind: "gradientAscent" }))).toBe(-3);
  // gamma 0 is gradient ascent, and divided by a large gamma it is fine-tuning on what is kept.
  expect(of({ kind: "gradientDifference", gamma: 0 })).toBe(-3);
  expect(of({ kind: "gradientDifference", gamma: 2 ** 40 }) / 2 ** 40).toBeCloseTo(0.5, 9);
});

test("the divergence from a reference, worked out row by row", () => {
  const [a, b] = [
    [0.2, -1, 0.5, 1, 0, -0.3],
    [0, 0.4, 0.1, -1, 2, 0.2],
  ];
  const probabilities = (row: readonly number[]) => {
    const weights = row.map(Math.exp);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  };
  let [kl, cross] = [0, 0];
  for (const at of [0, 3]) {
    const [p, q] = [probabilities(a.slice(at, at + 3)), probabilities(b.slice(at, at + 3))];
    p.forEach((value, i) => {
      kl += (value * Math.log(value / q[i]!)) / 2;
      cross -= (value * Math.log(q[i]!)) / 2;
    });
  }
  const [logits, reference] = [a, b].map((values) =>
    Tensor.from(Float64Array.from(values), [2, 3], { dtype: "float64" }),
  ) as [Tensor, Tensor];
  expect(Math.abs(number(retainDivergence(logits, reference)) - kl)).toBeLessThan(1e-12);
  expect(
    Math.abs(number(retainDivergence(logits, reference, "crossEntropy")) - cross),
  ).toBeLessThan(1e-12);
  expect(Math.abs(number(retainDivergence(logits, logits)))).toBeLessThan(1e-15);
});

test.each([
  ["gradientDifference", "gradientDifference"],
  ["npo", "npo"],
] as const)(
  "Sophia as SOUL runs it makes a classifier forget a class and keep the others: %s",
  async (_, kind) => {
    // Three classes around three directions; the third is to be forgotten.
    const points = (label: number, n: number) =>
      Array.from({ length: n }, (__, i) => {
        const angle = (2 * Math.PI * label) / 3 + 0.4 * Math.sin(7 * i + label);
        return [Math.cos(angle), Math.sin(angle)];
      });
    const batch = (labels: readonly number[]) => ({
      x: Tensor.from(
        labels.flatMap((label) => points(label, 8).flat()),
        [8 * labels.length, 2],
      ),
      y: Tensor.from(Int32Array.from(labels.flatMap((label) => Array<number>(8).fill(label))), [
        8 * labels.length,
      ]),
    });
    const w = { name: "w", tensor: Tensor.zeros([3, 2]) };
    const b = { name: "b", tensor: Tensor.zeros([3]) };
    const lossOf = ({ x, y }: ReturnType<typeof batch>) =>
      crossEntropy(linear(x, w.tensor, b.tensor), y);
    const [all, forget, retain] = [batch([0, 1, 2]), batch([2]), batch([0, 1])];
    using first = new AdamW([w, b], { lr: 0.1, weightDecay: 0 });
    for (let t = 0; t < 150; ++t) await first.step(() => lossOf(all));
    const learned = { forget: number(lossOf(forget)), retain: number(lossOf(retain)) };
    expect(learned.forget).toBeLessThan(0.2);
    const method: UnlearningMethod =
      kind === "npo" ? { kind, reference: learned.forget, gamma: 2 } : { kind };
    using optimizer = new Sophia([w, b], { ...soul, lr: 0.02, batch: 24, weightDecay: 0 });
    for (let t = 0; t < 300 && number(lossOf(forget)) < Math.log(3) + 1; ++t)
      await optimizer.step(() =>
        unlearningLoss({ forget: lossOf(forget), retain: lossOf(retain) }, method),
      );
    expect(number(lossOf(forget))).toBeGreaterThan(Math.log(3));
    expect(number(lossOf(retain))).toBeLessThan(2 * learned.retain + 0.2);
  },
);

test("what they refuse", () => {
  const [forget, retain] = [scalar(1), scalar(2)];
  for (const [terms, method] of [
    [{ forget }, { kind: "npo", reference: 1 }],
    [{ forget, retain }, { kind: "gradientAscent" }],
    [{ forget, retain }, { kind: "ascent" }],
    [
      { forget, retain },
      { kind: "preference", gamma: -1 },
    ],
    [
      { forget, retain },
      { kind: "npo", reference: NaN },
    ],
    [
      { forget, retain },
      { kind: "npo", reference: 1, beta: 0 },
    ],
  ] as unknown as Parameters<typeof unlearningLoss>[])
    expect(() => unlearningLoss(terms, method)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  expect(() => retainDivergence(scale(forget, 1), forget, "js" as "kl")).toThrow(/kind/);
});
