/** Worked by hand or in double precision outside of this library: the oracles of each method's specification. */
import { add, mul, scale, square, sub, sum } from "../../lib/autodiff/index.js";
import {
  AdaHessian,
  AdamW,
  MFAC,
  Muon,
  type MuonOptions,
  SGD,
  SOAP,
  type SOAPOptions,
  Sophia,
} from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";

const parameter = (values: number[], shape?: number[]) => ({
  name: "w",
  tensor: Tensor.from(values, shape),
});
const values = ({ tensor }: { tensor: Tensor<"float32"> }) => Array.from(tensor.dataSync());

function expectClose(
  actual: readonly number[],
  expected: readonly number[],
  tolerance: number,
): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] ?? NaN))).toBeLessThanOrEqual(tolerance);
  });
}

/** f = (x^2 + 10 y^2) / 2 from (1, 1). */
function valley() {
  const w = parameter([1, 1]);
  const curvature = Tensor.from([0.5, 5]);
  return { w, loss: () => sum(mul(curvature, square(w.tensor))) };
}

test("AdamW: the first step is lr in each coordinate", async () => {
  const { w, loss } = valley();
  await new AdamW([w], { lr: 0.1, weightDecay: 0 }).step(loss);
  expectClose(values(w), [0.9, 0.9], 1e-7);
});

test("SGD with momentum 0.9 and lr 0.1: (0.9, 0), then (0.72, -0.9)", async () => {
  const { w, loss } = valley();
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
  await optimizer.step(loss);
  expectClose(values(w), [0.9, 0], 1e-7);
  await optimizer.step(loss);
  expectClose(values(w), [0.72, -0.9], 1e-7);
});

test("M-FAC: four steps with a window of two beside the dense formula, with momentum and decay", async () => {
  const { w, loss } = valley();
  const [lr, momentum, weightDecay, damp] = [0.2, 0.5, 0.1, 0.3];
  const optimizer = new MFAC([w], { lr, momentum, weightDecay, damp, gradients: 2 });
  let [x, y] = [1, 1];
  let v = [0, 0];
  let window = [
    [0, 0],
    [0, 0],
  ];
  for (let step = 0; step < 4; ++step) {
    const g = [x + weightDecay * x, 10 * y + weightDecay * y] as const;
    window = [window[1]!, [...g]];
    const entry = (i: number, j: number) =>
      window.reduce((s, row) => s + (row[i]! * row[j]!) / 2, i === j ? damp : 0);
    const [a, b, d] = [entry(0, 0), entry(0, 1), entry(1, 1)];
    const determinant = a * d - b * b;
    const u = [(d * g[0] - b * g[1]) / determinant, (a * g[1] - b * g[0]) / determinant];
    v = u.map((value, i) => momentum * v[i]! + (1 - momentum) * value);
    x -= lr * v[0]!;
    y -= lr * v[1]!;
    await optimizer.step(loss);
    expectClose(values(w), [x, y], 2e-6);
  }
  expect(optimizer.stateBytes).toBe(4 * 2 + 4 * 4 + 8 * 4);
});

test("M-FAC: a state that does not fit is refused, and nothing changes", async () => {
  const { w, loss } = valley();
  const optimizer = new MFAC([w], { gradients: 3 });
  await optimizer.step(loss);
  const { tensors, metadata } = optimizer.stateDict();
  const fails = (name: string, tensor: Tensor | undefined, next = "1") => {
    const changed = new Map(tensors);
    if (tensor === undefined) changed.delete(name);
    else changed.set(name, tensor);
    return () => {
      optimizer.loadStateDict({
        tensors: changed,
        metadata: new Map([...metadata, ["next", next]]),
      });
    };
  };
  expect(fails("w.window", undefined)).toThrow(expect.objectContaining({ code: "FORMAT" }));
  expect(fails("w.window", Tensor.zeros([2, 2]))).toThrow(
    expect.objectContaining({ code: "SHAPE" }),
  );
  expect(fails("w.products", Tensor.zeros([3, 3]))).toThrow("float64");
  expect(fails("w.more", Tensor.zeros([3]))).toThrow("w.more");
  expect(fails("w.momentum", tensors.get("w.momentum"), "3")).toThrow("next");
  expect(
    values({ tensor: optimizer.stateDict().tensors.get("w.window") as Tensor<"float32"> }),
  ).toEqual(values({ tensor: tensors.get("w.window") as Tensor<"float32"> }));
});

describe("AdaHessian", () => {
  test("both coordinates contract alike on a valley, with the default options", async () => {
    const { w, loss } = valley();
    const optimizer = new AdaHessian([w]);
    for (const expected of [
      [0.850015, 0.8500015],
      [0.71186973, 0.71184487],
      [0.58530214, 0.58526793],
    ]) {
      await optimizer.step(loss);
      expectClose(values(w), expected, 2e-6);
    }
  });

  test("on a diagonal Hessian the first step needs no luck: theta - lr H theta / (|H| + eps)", async () => {
    for (const seed of [0, 1, 2]) {
      const { w, loss } = valley();
      await new AdaHessian([w], { lr: 0.1, eps: 0.5, seed }).step(loss);
      expectClose(values(w), [1 - 0.1 / 1.5, 1 - 1 / 10.5], 1e-6);
    }
  });

  test("scaling the loss changes nothing but eps", async () => {
    const [one, two] = [valley(), valley()];
    const [a, b] = [new AdaHessian([one.w], { eps: 0 }), new AdaHessian([two.w], { eps: 0 })];
    for (let i = 0; i < 5; ++i) {
      await a.step(one.loss);
      await b.step(() => scale(two.loss(), 64));
    }
    expect(values(two.w)).toEqual(values(one.w));
  });

  test("hessianPower 0 and eps 0 are bias-corrected momentum", async () => {
    const { w, loss } = valley();
    const optimizer = new AdaHessian([w], { lr: 0.01, hessianPower: 0, eps: 0 });
    let [x, y, mx, my] = [1, 1, 0, 0];
    for (let t = 1; t <= 6; ++t) {
      await optimizer.step(loss);
      mx = 0.9 * mx + 0.1 * x;
      my = 0.9 * my + 0.1 * 10 * y;
      x -= (0.01 * mx) / (1 - 0.9 ** t);
      y -= (0.01 * my) / (1 - 0.9 ** t);
    }
    expectClose(values(w), [x, y], 1e-6);
  });

  test.each([
    ["auto", [2, 3], [6, 6, 6, 15, 15, 15]],
    ["none", [2, 3], [1, 2, 15, 4, 5, 36]],
    [2, [6], [1.5, 1.5, 9.5, 9.5, 20.5, 20.5]],
  ] as const)("blockSize %s averages the curvature of [%s]", async (blockSize, shape, averaged) => {
    // Curvatures 1, 2, 15, 4, 5, 36 on the diagonal: exact in one probe. lr 1, momentum 0, eps 0: one step is g / D.
    const w = parameter([1, 1, 1, 1, 1, 1], [...shape]);
    const curvature = Tensor.from([1, 2, 15, 4, 5, 36], [...shape]);
    const optimizer = new AdaHessian([w], { lr: 1, eps: 0, blockSize });
    await optimizer.step(() => scale(sum(mul(curvature, square(w.tensor))), 0.5));
    expectClose(
      values(w),
      [1, 2, 15, 4, 5, 36].map((h, i) => 1 - h / (averaged[i] ?? NaN)),
      1e-6,
    );
  });

  test("absBeforeAverage false averages with the sign", async () => {
    const w = parameter([1, 1, 1, 1], [2, 2]);
    const curvature = Tensor.from([3, -1, 4, 4], [2, 2]);
    const optimizer = new AdaHessian([w], { lr: 1, eps: 0, absBeforeAverage: false });
    await optimizer.step(() => scale(sum(mul(curvature, square(w.tensor))), 0.5));
    expectClose(values(w), [1 - 3, 1 + 1, 0, 0], 1e-6);
  });

  test("a block size that does not divide is refused", () => {
    expect(() => new AdaHessian([parameter([1, 2, 3])], { blockSize: 2 })).toThrow(
      /divisor of the 3 elements of w/,
    );
  });
});

describe("Sophia", () => {
  // m = 0.035 g and h = 0.01 ghat^2 after the first step: g = (0.1, -2), ghat = (0.5, 0.01).
  const slopes = (w: Tensor, by: number[]) => sum(mul(w, Tensor.from(by)));
  test.each([
    [1, [-0.01, 0.01]],
    [491520, [-7.12e-7, 0.01]],
  ])("the first step with %s label draws", async (batch, expected) => {
    const w = parameter([0, 0]);
    const optimizer = new Sophia([w], { lr: 1e-2, rho: 0.04, weightDecay: 0, batch });
    const { clippedFraction } = await optimizer.step(() => slopes(w.tensor, [0.1, -2]), {
      sampledLoss: () => slopes(w.tensor, [0.5, 0.01]),
    });
    expectClose(values(w), expected, 1e-9);
    expect(clippedFraction).toBe(batch === 1 ? 1 : 0.5);
    const { tensors } = optimizer.stateDict();
    expectClose(Array.from(tensors.get("w.m")?.dataSync() as Float32Array), [0.0035, -0.07], 1e-8);
    expectClose(Array.from(tensors.get("w.h")?.dataSync() as Float32Array), [2.5e-3, 1e-6], 1e-9);
  });

  test("no element moves by more than lr", async () => {
    const { w, loss } = valley();
    const optimizer = new Sophia([w], {
      lr: 0.03,
      rho: 0.01,
      weightDecay: 0,
      curvature: "hutchinson",
    });
    let before = values(w);
    for (let i = 0; i < 20; ++i) {
      await optimizer.step(loss);
      const after = values(w);
      after.forEach((x, j) => {
        expect(Math.abs(x - (before[j] ?? NaN))).toBeLessThanOrEqual(0.03 * (1 + 1e-5));
      });
      before = after;
    }
  });

  test("with a large rho it is a diagonal Newton step of size lr / rho", async () => {
    const { w, loss } = valley();
    const optimizer = new Sophia([w], {
      lr: 1,
      rho: 1e4,
      betas: [0, 0],
      weightDecay: 0,
      curvature: "hutchinson",
    });
    await optimizer.step(loss);
    expectClose(values(w), [1 - 1e-4, 1 - 1e-4], 1e-7);
  });

  test("the sampled loss is asked for when it is due, and only then", async () => {
    const { w, loss } = valley();
    const optimizer = new Sophia([w], { batch: 4, updateInterval: 2 });
    await expect(optimizer.step(loss)).rejects.toThrow(/sampledLoss/);
    await optimizer.step(loss, { sampledLoss: loss });
    expect(optimizer.curvatureDue).toBe(false);
    await optimizer.step(loss);
    await expect(optimizer.step(loss)).rejects.toThrow(/sampledLoss/);
    expect(() => new Sophia([w])).toThrow(/batch/);
  });
});

/** The parameter after each step on linear losses with these gradients. */
async function follow(
  optimizer: { step: (loss: () => Tensor) => Promise<unknown> },
  w: ReturnType<typeof parameter>,
  gradients: readonly number[][],
): Promise<number[][]> {
  const trajectory: number[][] = [];
  for (const gradient of gradients) {
    const slope = Tensor.from(gradient, w.tensor.shape);
    await optimizer.step(() => sum(mul(w.tensor, slope)));
    trajectory.push(values(w));
  }
  return trajectory;
}

const G = [1, 2, 3, 4];
const polar = [-0.51449576, 0.85749293, 0.85749293, 0.51449576];
const sequence = [G, [2, -1, 0, 1], [-1, 1, 2, 3], [1, 1, -2, 1], [0, 2, 1, -1], [2, 1, 1, 3]];

describe("Muon", () => {
  /** f = |W - T|^2 / 2. */
  const towards = (w: Tensor, target: number[]) =>
    scale(sum(square(sub(w, Tensor.from(target, w.shape)))), 0.5);

  test.each([
    [
      "width",
      [0.05472516, -0.03686115, 0.07258916, 0.03629458, 0.03686115, -0.11001688],
      [0.1103676, -0.07400083, 0.14673437, 0.07336719, 0.07400083, -0.22136886],
    ],
    ["rms", [0.01547861, -0.01042591, 0.02053131, 0.01026566, 0.01042591, -0.03111747], undefined],
  ] as const)("two steps towards a tall matrix, scale %s", async (by, first, second) => {
    const w = parameter([0, 0, 0, 0, 0, 0], [3, 2]);
    const optimizer = new Muon([w], { lr: 0.1, scale: by });
    const loss = () => towards(w.tensor, [1, 0, 2, 1, 0, -1]);
    await optimizer.step(loss);
    expectClose(values(w), first, 1e-6);
    if (second === undefined) return;
    await optimizer.step(loss);
    expectClose(values(w), second, 1e-6);
  });

  test("decoupled weight decay, by the plain learning rate", async () => {
    const w = parameter([1, 1, 1, 1], [2, 2]);
    await new Muon([w], { lr: 0.1, weightDecay: 0.1 }).step(() => towards(w.tensor, G));
    expectClose(values(w), [0.92759924, 1.04772014, 1.04303953, 1.03835892], 1e-6);
  });

  test("the first step does not depend on the momentum; with the exact factor it is Shampoo's", async () => {
    const first = async (options: MuonOptions) => {
      const w = parameter([0, 0, 0, 0], [2, 2]);
      const [result] = await follow(new Muon([w], { lr: 1, ...options }), w, [G]);
      return result ?? [];
    };
    expectClose(await first({ momentum: 0.5 }), await first({}), 1e-5);
    const exact = { coefficients: [2, -1.5, 0.5], steps: 12 } as const;
    expectClose(
      await first({ momentum: 0, ...exact }),
      polar.map((x) => -x),
      1e-5,
    );
  });

  test("parts are orthogonalized apart, kernels as [o, the rest], and by the last axes on request", async () => {
    const halves = parameter(new Array<number>(8).fill(0), [4, 2]);
    const [both] = await follow(new Muon([halves], { lr: 1, parts: 2 }), halves, [
      [...G, 2, -1, 0, 1],
    ]);
    const alone = [];
    for (const gradient of [G, [2, -1, 0, 1]]) {
      const w = parameter([0, 0, 0, 0], [2, 2]);
      alone.push(...(await follow(new Muon([w], { lr: 1 }), w, [gradient])).flat());
    }
    expect(both).toEqual(alone);
    const gradient = Array.from({ length: 24 }, (_, i) => Math.sin(3 * i + 1));
    const results = [];
    for (const [shape, by] of [
      [[6, 2, 2, 1], "none"],
      [[6, 4], "none"],
      [[6, 2, 2, 1], "width"],
      [[6, 2, 2, 1], "kernel"],
    ] as const) {
      const w = parameter(new Array<number>(24).fill(0), [...shape]);
      results.push((await follow(new Muon([w], { lr: 1, scale: by }), w, [gradient])).flat());
    }
    const [plain = [], flattened, width = [], kernel = []] = results;
    expect(flattened).toEqual(plain);
    expectClose(
      width,
      plain.map((x) => x * Math.sqrt(1.5)),
      1e-6,
    );
    expectClose(
      kernel,
      plain.map((x) => x * Math.SQRT2),
      1e-6,
    );
  });

  test("vectors and what a group names go by AdamW", async () => {
    const [v, w] = [parameter([1, 1]), { name: "head", tensor: Tensor.from([1, 1], [1, 2]) }];
    const groups = [{ match: ["head"], method: "adamw" as const }];
    const optimizer = new Muon([v, w], { adamw: { lr: 0.1, eps: 0 }, groups });
    await optimizer.step(() => add(sum(mul(v.tensor, 3)), sum(mul(w.tensor, -2))));
    expectClose(values(v), [0.9, 0.9], 1e-7);
    expectClose(values(w), [1.1, 1.1], 1e-7);
    expect(() => new Muon([v], { method: "muon" })).toThrow(/two or more axes/);
    expect(() => new Muon([parameter([1, 2, 3], [3, 1])], { parts: 2 })).toThrow(/divisor of 3/);
    expect(() => new Muon([v], { steps: 0 })).toThrow(/steps/);
  });
});

describe("SOAP", () => {
  const run = async (options: SOAPOptions, gradients: readonly number[][], shape = [2, 2]) => {
    const w = parameter(new Array<number>(4).fill(0), shape);
    const optimizer = new SOAP([w], { lr: 0.1, weightDecay: 0, ...options });
    return { trajectory: await follow(optimizer, w, gradients), optimizer };
  };

  test("the first step changes nothing; the second with the same gradient is the polar factor", async () => {
    // In the basis of G itself the rest of G is rounding, which only the guard keeps out in float32.
    const { trajectory } = await run({ guard: true }, [G, G]);
    expect(trajectory[0]).toEqual([0, 0, 0, 0]);
    expectClose(
      trajectory[1] ?? [],
      polar.map((x) => -0.1 * x),
      1e-6,
    );
  });

  test("six gradients, the basis brought up to date every second step", async () => {
    const { trajectory, optimizer } = await run({ preconditionInterval: 2 }, sequence);
    const reference = [
      [0, 0, 0, 0],
      [-0.07844654, 0.11766954, -0.11766963, -0.0784464],
      [-0.06983647, 0.15037353, -0.15012281, -0.18853471],
      [-0.10583933, 0.1270099, -0.1256536, -0.28366663],
      [-0.13719365, 0.06958968, -0.12997993, -0.33986889],
      [-0.18952151, 0.01067267, -0.12902288, -0.40594056],
    ];
    reference.forEach((expected, i) => {
      expectClose(trajectory[i] ?? [], expected, 2e-6);
    });
    const { tensors } = optimizer.stateDict();
    const state = (key: string) => Array.from(tensors.get(`w.${key}`)?.dataSync() as Float32Array);
    expectClose(state("factor0"), [1.0130593, 0.53759795, 0.53759795, 2.38587023], 1e-6);
    expectClose(state("m"), [0.18370688, 0.19226844, 0.0929875, 0.31695656], 1e-6);
    expectClose(state("v"), [1.13517726, 0.25230242, 0.33389892, 0.51687953], 3e-6);
  });

  test.each([
    [{ preconditionInterval: 10 }, 5, [-0.17773895, 0.01727936, -0.12421773, -0.40815129]],
    [
      { preconditionInterval: 1, weightDecay: 0.1 },
      5,
      [-0.18651741, 0.00361515, -0.12629164, -0.39691194],
    ],
    [{ maxDimension: 0 }, 1, [-0.1, 0.1, 0, -0.1]],
    [{ maxDimension: 0 }, 2, [-0.12941742, 0.09743589, -0.07161149, -0.18967435]],
  ])("%j, after call %i", async (options, call, expected) => {
    const { trajectory } = await run(options, sequence);
    expectClose(trajectory[call] ?? [], expected, 2e-6);
  });

  test("turned gradients give turned parameters, for a matrix and a kernel", async () => {
    const [c, s] = [Math.cos(0.7), Math.sin(0.7)];
    // Rows are mixed by a rotation, on the first of two or of three axes.
    const turn = ([a = 0, b = 0, d = 0, e = 0]: number[]) => [
      c * a - s * d,
      c * b - s * e,
      s * a + c * d,
      s * b + c * e,
    ];
    for (const shape of [
      [2, 2],
      [2, 2, 1],
      [2, 1, 2],
    ]) {
      const options = { preconditionInterval: 2 };
      const plain = await run(options, sequence, shape);
      const turned = await run(options, sequence.map(turn), shape);
      expectClose(turned.trajectory[5] ?? [], turn(plain.trajectory[5] ?? []), 1e-5);
    }
  });

  test("merged axes are one, a vector may have a basis, and options are checked", async () => {
    const merged = await run({ mergeDimensions: true, maxDimension: 4 }, sequence, [2, 1, 2]);
    const row = await run({}, sequence, [4]);
    expect(merged.trajectory).toEqual(row.trajectory);
    const turned = await run({ precondition1d: true }, sequence, [4]);
    expect(turned.trajectory[5]).not.toEqual(row.trajectory[5]);
    expect([...turned.optimizer.stateDict().tensors.keys()]).toContain("w.basis0");
    const unit = await run({ normalizeUpdate: true }, sequence);
    const [, second = []] = unit.trajectory;
    expect(Math.hypot(...second)).toBeCloseTo(0.1 * 2 * (Math.sqrt(1 - 0.95) / (1 - 0.95)), 5);
    expect(() => new SOAP([parameter([1])], { preconditionInterval: 0 })).toThrow(/Interval/);
    expect(() => new SOAP([parameter([1])], { eps: 0 })).toThrow(/eps/);
  });
});
