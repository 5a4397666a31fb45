/** Worked by hand or in double precision outside of this library: the oracles of each method's specification. */
import { mul, scale, square, sum } from "../../lib/autodiff/index.js";
import { AdaHessian, AdamW, MFAC, SGD, Sophia } from "../../lib/optim/index.js";
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
