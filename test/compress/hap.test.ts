import { add, globalAvgPool2d, mul, scale, square, sum, tanh } from "../../lib/autodiff/index.js";
import {
  channelUnits,
  hapFates,
  hapImportance,
  hapPrune,
  headUnits,
  ImplantConv2d,
  keepUnits,
  type UnitFate,
} from "../../lib/compress/index.js";
import { importanceOf } from "../../lib/compress/passes/hap.js";
import {
  BatchNorm,
  Conv2d,
  Linear,
  type Module,
  MultiHeadAttention,
  Sequential,
} from "../../lib/nn/index.js";
import { copyInto } from "../../lib/ops/copy.js";
import { SGD } from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { normal } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

const values = (tensor: Tensor) => Array.from(tensor.dataSync(), Number);
const draws = (seed: number, shape: number[], shift = 0) => {
  const draw = normal(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return Tensor.from(
    Float32Array.from({ length: size }, () => draw() + shift),
    shape,
  );
};
const set = (tensor: Tensor | undefined, source: Tensor) => {
  copyInto("test", source, tensor!);
};

interface Hap {
  W: number[][];
  channel_trace: number[];
  importance: number[];
  prune_ratio: number;
  ni_ratio: number;
  classes: ("remain" | "prune" | "implant")[];
}
const { hap } = readVectors<{ hap: Hap }>("hawq.json");

describe("importance and fates", () => {
  test("the file", () => {
    const norms = hap.W.map((row) => row.reduce((s, w) => s + w * w, 0));
    const got = importanceOf(hap.channel_trace, norms, 4);
    hap.importance.forEach((value, c) => {
      expect(Math.abs(got[c]! - value)).toBeLessThan(1e-15);
    });
    expect(importanceOf([-1], [2], 4)).toEqual(Float64Array.of(0));
    const options = { ratio: hap.prune_ratio, implantRatio: hap.ni_ratio };
    expect(hapFates(new Map([["w", hap.importance]]), options).get("w")).toEqual(hap.classes);
  });

  test("of a quadratic, whose Hessian is known: channels and heads", async () => {
    const weight = { name: "conv", tensor: draws(1, [3, 2, 2, 2]) };
    const curvature = draws(2, [3, 2, 2, 2], 0.5);
    const attention = new MultiHeadAttention(4, 2);
    const parts = [attention.query, attention.key, attention.value, attention.output];
    const loss = () =>
      scale(
        [
          sum(mul(curvature, square(weight.tensor))),
          ...parts.map((part, i) => scale(sum(square(part.weight)), i + 1)),
        ].reduce((a, b) => add(a, b)),
        0.5,
      );
    const got = await hapImportance(
      loss,
      [channelUnits(weight), headUnits(attention, "attention")],
      { samples: 2 },
    );
    const [w, c] = [values(weight.tensor), values(curvature)];
    got.get("conv")!.forEach((value, channel) => {
      const own = (list: number[]) => list.slice(8 * channel, 8 * channel + 8);
      const trace = own(c).reduce((a, b) => a + b, 0);
      const norm = own(w).reduce((a, b) => a + b * b, 0);
      expect(Math.abs(value - (Math.max(0, trace) * norm) / 8)).toBeLessThan(1e-5 * norm);
    });
    // Rows 2h and 2h + 1 of queries, keys and values, columns of the output; the Hessian is i + 1 on the diagonal.
    const trace = 8 * (1 + 2 + 3 + 4);
    got.get("attention")!.forEach((value, head) => {
      let norm = 0;
      parts.forEach((part, i) => {
        values(part.weight).forEach((x, at) => {
          const along = i === 3 ? at % 4 : Math.floor(at / 4);
          if (Math.floor(along / 2) === head) norm += x * x;
        });
      });
      expect(Math.abs(value - (trace * norm) / 32)).toBeLessThan(1e-5 * trace * norm);
    });
  });

  test("a limit for each layer; one unit remains; ratios 0 and 1", () => {
    const list = new Map([
      ["a", [1, 2, 3, 4]],
      ["b", [10, 30, 20]],
    ]);
    const fates = (options: Parameters<typeof hapFates>[1]) =>
      [...hapFates(list, options).values()].map((one) => one.map((fate) => fate[0]).join(""));
    expect(fates({ ratio: 0.5 })).toEqual(["pppr", "rrr"]);
    expect(fates({ ratio: 0.5, limit: 0.5 })).toEqual(["pprr", "rrr"]);
    expect(fates({ ratio: 0 })).toEqual(["rrrr", "rrr"]);
    expect(fates({ ratio: 1 })).toEqual(["pppr", "prp"]);
    expect(fates({ ratio: 1, implantRatio: 1 })).toEqual(["piir", "iri"]);
    for (const options of [{ ratio: 1.1 }, { ratio: 0.5, limit: -1 }, { ratio: NaN }])
      expect(() => hapFates(list, options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => hapFates(new Map([["a", [NaN]]]), { ratio: 0.5 })).toThrow("importances of a");
  });
});

/** conv, norm, conv, norm, mean, linear; values of the norms drawn too. */
function network() {
  const [one, two] = [
    new Conv2d(2, 4, 3, { padding: 1 }),
    new Conv2d(4, 3, 3, { padding: 1, stride: 2 }),
  ];
  const [n1, n2] = [new BatchNorm(4), new BatchNorm(3)];
  const output = new Linear(3, 2);
  for (const [norm, seed, size] of [
    [n1, 5, 4],
    [n2, 6, 3],
  ] as const) {
    set(norm.weight, draws(seed, [size], 1));
    set(norm.bias, draws(seed + 10, [size]));
    set(norm.buffers["running_mean"], draws(seed + 20, [size]));
    set(norm.buffers["running_var"], square(draws(seed + 30, [size])));
  }
  const model = new Sequential(one, n1, tanh, two, n2, tanh, globalAvgPool2d, output).train(false);
  return { one, n1, two, n2, output, model };
}
const x = draws(9, [2, 2, 6, 6]);
const forward = (model: Module & { forward(x: Tensor): Tensor }) => values(model.forward(x));
const expectSame = (a: number[], b: number[]) => {
  expect(a.length).toBe(b.length);
  a.forEach((value, i) => {
    expect(Math.abs(value - b[i]!)).toBeLessThan(2e-5 * Math.max(1, ...b.map(Math.abs)));
  });
};

describe("a pruned network", () => {
  const fates: UnitFate[][] = [
    ["implant", "remain", "prune", "remain"],
    ["remain", "prune", "remain"],
  ];
  const prune = async (parts: ReturnType<typeof network>) => {
    const { one, n1, two, n2 } = parts;
    const named = (name: string, tensor: Tensor | undefined) => ({ name, tensor: tensor! });
    const layers = [
      channelUnits(named("one.weight", one.weight), [
        named("one.bias", one.bias),
        named("n1.weight", n1.weight),
        named("n1.bias", n1.bias),
      ]),
      channelUnits(named("two.weight", two.weight), [
        named("two.bias", two.bias),
        named("n2.weight", n2.weight),
        named("n2.bias", n2.bias),
      ]),
    ];
    return hapPrune(
      layers,
      new Map([
        ["one.weight", fates[0]!],
        ["two.weight", fates[1]!],
      ]),
    );
  };

  test("computes what the smaller one does, before and after the implant learnt something", async () => {
    const parts = network();
    const masks = await prune(parts);
    const { one, n1, two, n2, output, model } = parts;
    const inputs = [0, 1, 3];
    const implanted = new ImplantConv2d(one, fates[0]!);
    const small = new Sequential(
      implanted,
      keepUnits(n1, { outputs: inputs }),
      tanh,
      keepUnits(two, { outputs: [0, 2], inputs }),
      keepUnits(n2, { outputs: [0, 2] }),
      tanh,
      globalAvgPool2d,
      keepUnits(output, { inputs: [0, 2] }),
    ).train(false);
    expect(values(implanted.implant.weight)).toEqual([0, 0]);
    expectSame(forward(model), forward(small));
    const count = (net: Module) =>
      [...net.parameters()].reduce((sum, { tensor }) => sum + tensor.size, 0);
    expect(count(small)).toBe(2 * 2 * 9 + 2 + 2 + 1 + 6 + 3 * 2 * 9 + 2 + 4 + 2 * 2 + 2);

    const centre = [4, 13];
    const before = values(one.weight);
    expect(before.slice(0, 18).every((value) => value === 0)).toBe(true);
    const mask = values(masks.get("one.weight")!);
    expect(mask.flatMap((free, i) => (free && i < 18 ? [i] : []))).toEqual(centre);
    const learnt = before.map((value, i) => (centre.includes(i) ? 0.3 + i / 10 : value));
    set(one.weight, Tensor.from(learnt, [4, 2, 3, 3]));
    set(
      implanted.implant.weight,
      Tensor.from(
        centre.map((i) => learnt[i]!),
        [1, 2, 1, 1],
      ),
    );
    expectSame(forward(model), forward(small));
  });

  test("trains on with its masks: what is pruned stays so, the centre of an implant moves", async () => {
    const parts = network();
    const masks = await prune(parts);
    const named = [
      { name: "one.weight", tensor: parts.one.weight },
      { name: "two.weight", tensor: parts.two.weight },
    ];
    using optimizer = new SGD(named, { lr: 0.1, weightDecay: 0.01 });
    optimizer.setMasks(new Map(named.map(({ name }) => [name, masks.get(name)!])));
    for (let i = 0; i < 3; ++i) await optimizer.step(() => sum(square(parts.model.forward(x))));
    const weight = values(parts.one.weight);
    values(masks.get("one.weight")!).forEach((free, i) => {
      if (!free) expect(weight[i]).toBe(0);
    });
    expect(weight[4]).not.toBe(0);
  });

  test("bad input changes nothing", async () => {
    const { one, output } = network();
    const before = values(one.weight);
    const layer = channelUnits({ name: "one.weight", tensor: one.weight });
    await expect(hapPrune([layer], new Map())).rejects.toMatchObject({ code: "ARGUMENT" });
    const dense = channelUnits({ name: "w", tensor: output.weight });
    await expect(
      hapPrune(
        [layer, dense],
        new Map([
          ["one.weight", fates[0]!],
          ["w", ["remain", "implant"]],
        ]),
      ),
    ).rejects.toMatchObject({ code: "SHAPE" });
    expect(values(one.weight)).toEqual(before);
    for (const outputs of [[], [4], [1, 1], [1, 0], [0.5]])
      expect(() => keepUnits(one, { outputs })).toThrow(
        expect.objectContaining({ code: "ARGUMENT" }),
      );
    const grouped = new Conv2d(2, 4, 3, { groups: 2 });
    expect(() => keepUnits(grouped, {})).toThrow("one group");
    expect(() => new ImplantConv2d(new Conv2d(2, 4, 3), fates[0]!)).toThrow("padding");
    expect(() => new ImplantConv2d(one, ["remain", "remain", "remain", "prune"])).toThrow("fates");
    await expect(
      hapImportance(() => sum(one.weight), [{ ...layer, units: 3 }]),
    ).rejects.toMatchObject({ code: "SHAPE" });
  });
});
