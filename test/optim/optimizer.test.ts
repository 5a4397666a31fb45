import { add, mul, square, sum } from "../../lib/autodiff/index.js";
import { AdamW, type NamedSchedule, SGD } from "../../lib/optim/index.js";
import { scheduled } from "../../lib/optim/schedule.js";
import { Tensor } from "../../lib/tensor/index.js";

const param = (name: string, values: number[]) => ({ name, tensor: Tensor.from(values) });
const values = ({ tensor }: { tensor: Tensor<"float32"> }) => Array.from(tensor.dataSync());

describe("schedules", () => {
  test.each<[NamedSchedule, [number, number][]]>([
    [
      { schedule: "constant", from: 2, warmup: 4 },
      [
        [0, 0.5],
        [3, 2],
        [100, 2],
      ],
    ],
    [
      { schedule: "linear", from: 1, to: 0.5, steps: 10 },
      [
        [0, 1],
        [5, 0.75],
        [10, 0.5],
        [99, 0.5],
      ],
    ],
    [
      { schedule: "cosine", from: 1, steps: 10 },
      [
        [0, 1],
        [5, 0.5],
        [10, 0],
        [11, 0],
      ],
    ],
    [
      { schedule: "cosine", from: 1, steps: 8, warmup: 2 },
      [
        [0, 0.5],
        [1, 1],
        [2, 1],
        [6, 0.5],
        [10, 0],
      ],
    ],
    [
      { schedule: "exponential", from: 1, rate: 0.25, steps: 2 },
      [
        [0, 1],
        [1, 0.5],
        [4, 0.0625],
      ],
    ],
    [
      { schedule: "step", from: 1, steps: 3 },
      [
        [0, 1],
        [2, 1],
        [3, 0.1],
        [7, 0.01],
      ],
    ],
    [
      { schedule: "inverseSqrt", from: 1, steps: 4 },
      [
        [0, 1],
        [4, 1],
        [16, 0.5],
      ],
    ],
  ])("%j", (schedule, points) => {
    const value = scheduled("t", "lr", schedule, [0, Infinity]);
    for (const [step, expected] of points) expect(value(step)).toBeCloseTo(expected, 12);
  });

  test.each([
    [{ schedule: "sine", from: 1 }, /lr.schedule/],
    [{ schedule: "linear", from: 1 }, /lr.steps/],
    [{ schedule: "linear", from: Number.NaN, steps: 3 }, /lr.from/],
    [{ schedule: "constant", from: 1, warmup: -1 }, /lr.warmup/],
    [null, /lr/],
  ])("refused: %j", (schedule, message) => {
    expect(() => scheduled("t", "lr", schedule as never, [0, 1])).toThrow(message);
  });

  test("a function that leaves the range is refused at its step, by name", async () => {
    const w = param("w", [1]);
    using optimizer = new SGD([w], { lr: (step) => 1 - 2 * step, momentum: 0 });
    await optimizer.step(() => sum(square(w.tensor)));
    await expect(optimizer.step(() => sum(square(w.tensor)))).rejects.toThrow(/lr of w at step 1/);
  });
});

describe("parameters and groups", () => {
  test("the first group that matches counts; by name, pattern or function", async () => {
    const params = ["a.weight", "a.bias", "b.weight"].map((name) => param(name, [1, 1]));
    using optimizer = new SGD(params, {
      lr: 0.5,
      momentum: 0,
      groups: [
        { match: /bias$/g, lr: 0.25 },
        { match: ["b.weight"], lr: 0.125 },
        { match: ({ tensor }) => tensor.size === 2, lr: 0 },
      ],
    });
    await optimizer.step(() =>
      params.map(({ tensor }) => sum(tensor)).reduce((total, one) => add(total, one)),
    );
    expect(params.map(values)).toEqual([
      [1, 1],
      [0.75, 0.75],
      [0.875, 0.875],
    ]);
  });

  const w = param("w", [1, 2]);
  test.each<[string, () => unknown, RegExp]>([
    ["no parameters", () => new SGD([]), /at least one parameter/],
    ["not an iterable", () => new SGD({} as never), /iterable/],
    ["a name twice", () => new SGD([w, param("w", [1])]), /names that differ/],
    [
      "a tensor twice",
      () => new SGD([w, { name: "v", tensor: w.tensor }]),
      /w and v are one tensor/,
    ],
    ["not a tensor", () => new SGD([{ name: "w", tensor: 3 as never }]), /a Tensor for params w/],
    [
      "another dtype",
      () => new SGD([{ name: "w", tensor: Tensor.from(new Float64Array(2)) }]),
      /float32/,
    ],
    [
      "a view",
      () => new SGD([{ name: "w", tensor: Tensor.zeros([2, 3]).transpose() }]),
      /strided view/,
    ],
    [
      "a group without a match",
      () => new SGD([w], { groups: [{ match: /nobody/, lr: 1 }] }),
      /groups\[0\].*w/,
    ],
    ["nonFinite", () => new SGD([w], { nonFinite: "ignore" as never }), /nonFinite/],
    ["clipNorm", () => new SGD([w], { clipNorm: -1 }), /clipNorm/],
  ])("refused: %s", (_, make, message) => {
    expect(make).toThrow(message);
  });
});

describe("the step", () => {
  test("accumulated micro-batches are the mean of the whole batch", async () => {
    const [one, two] = [param("w", [1, 2, 3]), param("w", [1, 2, 3])];
    const factors = [0.5, 1.5, 4];
    using whole = new SGD([one], { lr: 0.1, momentum: 0 });
    using pieces = new SGD([two], { lr: 0.1, momentum: 0 });
    const a = await whole.step(() => mul(sum(square(one.tensor)), 2));
    const b = await pieces.step((k) => mul(sum(square(two.tensor)), factors[k] ?? 0), {
      accumulate: 3,
    });
    expect(b.loss).toBeCloseTo(a.loss, 5);
    for (const [i, value] of values(two).entries())
      expect(value).toBeCloseTo(values(one)[i] ?? 0, 6);
  });

  test("the gradient is clipped over all parameters together", async () => {
    const params = [param("a", [3, 0]), param("b", [4])];
    using optimizer = new SGD(params, { lr: 1, momentum: 0, clipNorm: 1 });
    const { gradientNorm } = await optimizer.step(() => {
      const [a, b] = params.map(({ tensor }) => mul(sum(square(tensor)), 0.5)) as [Tensor, Tensor];
      return add(a, b);
    });
    expect(gradientNorm).toBeCloseTo(5, 6);
    expect(values(params[0] as never)[0]).toBeCloseTo(3 - 0.6, 6);
    expect(values(params[1] as never)[0]).toBeCloseTo(4 - 0.8, 6);
  });

  test("a parameter the loss does not use stays", async () => {
    const params = [param("a", [3]), param("b", [4])];
    using optimizer = new AdamW(params, { weightDecay: 0 });
    await optimizer.step(() => sum(square(params[0]?.tensor as Tensor)));
    expect(values(params[1] as never)).toEqual([4]);
  });
});

describe("states that do not fit", () => {
  const fresh = () => new AdamW([param("a", [1, 2]), param("b", [1])]);
  const state = () => fresh().stateDict();
  const without = (name: string) => {
    const { tensors, metadata } = state();
    return { metadata, tensors: new Map([...tensors].filter(([key]) => key !== name)) };
  };
  test.each<[string, () => ReturnType<typeof state>, RegExp]>([
    [
      "another optimizer",
      () => new SGD([param("a", [1, 2])]).stateDict(),
      /its optimizer is SGD, not AdamW/,
    ],
    [
      "no version",
      () => ({ tensors: new Map(), metadata: new Map([["optimizer", "AdamW"]]) }),
      /version/,
    ],
    ["a tensor missing", () => without("b.v"), /b.v is missing/],
    [
      "another model",
      () => new AdamW([param("a", [1, 2]), param("c", [1])]).stateDict(),
      /b.m is missing/,
    ],
    [
      "more than it has",
      () => new AdamW([param("a", [1, 2]), param("b", [1]), param("c", [1])]).stateDict(),
      /c.m belongs/,
    ],
    [
      "another shape",
      () => new AdamW([param("a", [1, 2, 3]), param("b", [1])]).stateDict(),
      /\[2\].*a.m/,
    ],
    [
      "a step that is no number",
      () => {
        const { tensors, metadata } = state();
        return { tensors, metadata: new Map([...metadata, ["step", "many"]]) };
      },
      /step is many/,
    ],
  ])("%s", (_, make, message) => {
    using optimizer = fresh();
    expect(() => {
      optimizer.loadStateDict(make());
    }).toThrow(message);
    expect(optimizer.steps).toBe(0);
  });
});
