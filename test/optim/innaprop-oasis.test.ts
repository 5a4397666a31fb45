/** The oracles of INNAprop and OASIS: the specification's numbers, and loops in plain float64. */
import { matmul, mul, reshape, scale, square, sum } from "../../lib/autodiff/index.js";
import { INNAprop, OASIS } from "../../lib/optim/index.js";
import { nextStepSize } from "../../lib/optim/oasis-step-size.js";
import { Tensor } from "../../lib/tensor/index.js";

function near(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(tolerance);
  });
}

/** f = sum curvature_i x_i^2 / 2. */
function bowl(start: readonly number[], curvatures: readonly number[]) {
  const w = { name: "w", tensor: Tensor.from([...start]) };
  const half = Tensor.from(curvatures.map((c) => c / 2));
  return {
    w,
    loss: () => sum(mul(half, square(w.tensor))),
    values: () => Array.from(w.tensor.dataSync()),
  };
}

describe("INNAprop", () => {
  test.each([
    [1, 1, [0.900000001, 0.8053916182, 0.7164203213, 0.6332939038]],
    [0.1, 0.9, [0.9100000009, 0.8152338734, 0.7170661996, 0.6169886677]],
    [2, 2, [0.800000002, 0.6532998596, 0.5463652217, 0.4682489112]],
  ])("alpha %d, beta %d on a valley", async (alpha, beta, xs) => {
    const { w, loss, values } = bowl([1, 1], [1, 10]);
    using optimizer = new INNAprop([w], { lr: 0.1, alpha, beta, weightDecay: 0 });
    for (const x of xs) {
      await optimizer.step(loss);
      near(values(), [x, x], 1e-6); // y differs by eps / |g| alone
    }
  });

  test("the first step with decay", async () => {
    const { w, loss, values } = bowl([1, 1], [1, 10]);
    using optimizer = new INNAprop([w], { lr: 0.1, weightDecay: 0.01 });
    await optimizer.step(loss);
    near(values(), [0.90889889, 0.90889889], 1e-6);
  });

  test.each([0, 0.05])(
    "20 steps of the published form, lr falling, decay %d",
    async (weightDecay) => {
      const [alpha, beta, sigma, eps] = [0.3, 0.8, 0.9, 1e-4];
      const lr = (step: number) => 0.05 / (1 + step / 5);
      const { w, loss, values } = bowl([1, -2, 0.5], [1, 3, 10]);
      using optimizer = new INNAprop([w], { lr, alpha, beta, sigma, eps, weightDecay });
      const wanted = [1, -2, 0.5].map((start, i) => {
        let [theta, psi, v] = [start, (1 - alpha * beta) * start, 0];
        for (let t = 1; t <= 20; ++t) {
          const g = [1, 3, 10][i]! * theta;
          const rate = lr(t - 1);
          theta *= 1 - rate * weightDecay;
          v = sigma * v + (1 - sigma) * g * g;
          const u = g / (Math.sqrt(v / (1 - sigma ** t)) + eps);
          psi = (1 - rate / beta) * psi + rate * (1 / beta - alpha) * theta;
          theta =
            (1 + (rate * (1 - alpha * beta)) / (beta - rate)) * theta -
            (rate / (beta - rate)) * psi -
            rate * beta * u;
        }
        return theta;
      });
      for (let t = 0; t < 20; ++t) await optimizer.step(loss);
      near(values(), wanted, 20 * 8 * 2 ** -24 * 2); // some 8 roundings a step of numbers below 2
    },
  );

  test("lr must stay below beta", async () => {
    const { w, loss, values } = bowl([1], [1]);
    expect(() => new INNAprop([w], { lr: 0.9 })).toThrow(/below beta/);
    using optimizer = new INNAprop([w], { lr: (step) => (step < 1 ? 0.1 : 2) });
    await optimizer.step(loss);
    const before = values();
    await expect(optimizer.step(loss)).rejects.toThrow(/below beta/);
    expect(values()).toEqual(before);
  });
});

describe("OASIS", () => {
  test.each(["recompute", "reuse"] as const)(
    "with the exact diagonal the step size is 1/2 from the second step on (%s)",
    async (previousGradient) => {
      const { w, loss, values } = bowl([1, 1], [1, 10]);
      using optimizer = new OASIS([w], { lr: 0.1, previousGradient });
      const sizes: number[] = [];
      for (const wanted of [0.9, 0.45, 0.225, 0.1125]) {
        sizes.push((await optimizer.step(loss)).stepSize!);
        near(values(), [wanted, wanted], 1e-6);
      }
      near(sizes, [0.1, 0.5, 0.5, 0.5], 1e-5);
    },
  );

  test("alpha above the curvature: AdGD, step times L = 1/2", async () => {
    const { w, loss, values } = bowl([1], [4]);
    using optimizer = new OASIS([w], { lr: 0.1, alpha: 100 });
    await optimizer.step(loss);
    const before = values();
    const { stepSize } = await optimizer.step(loss);
    near([(stepSize! / 100) * 4], [0.5], 1e-6);
    near(values(), [before[0]! / 2], 1e-6);
  });

  test("scaling the loss by a power of two leaves every bit as it is, where nothing is cut off", async () => {
    const [one, two] = [bowl([1, 1], [1, 10]), bowl([1, 1], [1, 10])];
    using a = new OASIS([one.w], { lr: 0.1, alpha: 1e-6 });
    using b = new OASIS([two.w], { lr: 0.1, alpha: 1e-6 });
    for (let i = 0; i < 6; ++i) {
      await a.step(one.loss);
      await b.step(() => scale(two.loss(), 64));
      expect(two.values()).toEqual(one.values());
    }
  });

  test("a coordinate scaled by a power of two gives scaled iterates", async () => {
    const one = bowl([1, 1], [1, 10]);
    const two = bowl([1 / 4, 1], [16, 10]); // x = 4 x'
    using a = new OASIS([one.w], { lr: 0.1, alpha: 1e-6 });
    using b = new OASIS([two.w], { lr: 0.1, alpha: 1e-6 });
    for (let i = 0; i < 6; ++i) {
      await a.step(one.loss);
      await b.step(two.loss);
      const [x, y] = two.values();
      expect([4 * x!, y!]).toEqual(one.values());
    }
  });

  test("a dense Hessian, other data every step: a plain float64 loop with the same probes", async () => {
    // The probes are read back from the state: with beta2 0 the curvature is the newest z o Hz.
    const matrices = [
      [2, 1, 1, 3],
      [3, -1, -1, 2],
      [1, 0.5, 0.5, 4],
      [2, 1, 1, 1],
    ];
    const w = { name: "w", tensor: Tensor.from([1, -0.5]) };
    const tensors = matrices.map((matrix) => Tensor.from(matrix, [2, 2]));
    const lossOf = (k: number) => () => {
      const column = reshape(w.tensor, [2, 1]);
      return scale(sum(mul(matmul(tensors[k]!, column), column)), 0.5);
    };
    using optimizer = new OASIS([w], { lr: 0.05, alpha: 0.5, betas: [0, 0], initialSamples: 1 });
    const gradient = (k: number, [x, y]: number[]) => {
      const [a, b, c, d] = matrices[k]!;
      return [a! * x! + b! * y!, c! * x! + d! * y!];
    };
    let [before, here, eta, ratio] = [[0, 0], [1, -0.5], 0.05, Infinity];
    for (const k of matrices.keys()) {
      const { stepSize } = await optimizer.step(lossOf(k));
      const { tensors: state } = optimizer.stateDict();
      const metric = Array.from(state.get("w.curvature")!.dataSync() as Float32Array, (d) =>
        Math.max(Math.abs(d), 0.5),
      );
      for (const tensor of state.values()) tensor.dispose();
      const g = gradient(k, here);
      if (k > 0) {
        const old = gradient(k, before);
        const moved = here.reduce((s, x, i) => s + metric[i]! * (x - before[i]!) ** 2, 0);
        const bent = g.reduce((s, x, i) => s + (x - old[i]!) ** 2 / metric[i]!, 0);
        const next = Math.min(
          ratio === Infinity ? Infinity : Math.sqrt(1 + ratio) * eta,
          Math.sqrt(moved / bent) / 2,
        );
        [ratio, eta] = [next / eta, next];
      }
      near([stepSize!], [eta], 1e-5 * eta);
      [before, here] = [here, here.map((x, i) => x - (eta * g[i]!) / metric[i]!)];
      near(Array.from(w.tensor.dataSync()), here, 1e-5);
    }
  });

  test("the rule of the step size at its edges", () => {
    const rate = { stepSize: 0.2, ratio: 0.5 };
    expect(nextStepSize(rate, { moved: 4, bent: 1 }, Infinity).stepSize).toBeCloseTo(
      Math.sqrt(1.5) * 0.2,
      15,
    );
    expect(nextStepSize(rate, { moved: 1, bent: 100 }, Infinity).stepSize).toBe(0.05);
    expect(nextStepSize(rate, { moved: 1, bent: 0 }, Infinity).stepSize).toBeCloseTo(
      Math.sqrt(1.5) * 0.2,
      15,
    );
    expect(nextStepSize(rate, { moved: 0, bent: 1 }, Infinity)).toEqual({
      stepSize: 0.2,
      ratio: 1,
    });
    expect(nextStepSize(rate, { moved: 4, bent: 1 }, 0.1).stepSize).toBe(0.1);
    const first = { stepSize: 0.2, ratio: Infinity };
    expect(nextStepSize(first, { moved: 4, bent: 1 }, Infinity)).toEqual({ stepSize: 1, ratio: 5 });
    expect(nextStepSize(first, { moved: 4, bent: 0 }, Infinity)).toEqual({
      stepSize: 0.2,
      ratio: 1,
    });
    expect(nextStepSize({ stepSize: 0, ratio: Infinity }, { moved: 0, bent: 0 }, 1)).toEqual({
      stepSize: 0,
      ratio: 1,
    });
  });

  test("after a loss that throws at the point before, the parameters are as they were", async () => {
    const { w, loss, values } = bowl([1, 2], [1, 10]);
    using optimizer = new OASIS([w], { lr: 0.1 });
    await optimizer.step(loss);
    const before = values();
    let calls = 0;
    const failing = () => {
      if (++calls > 1) throw new Error("from the loss");
      return loss();
    };
    await expect(optimizer.step(failing)).rejects.toThrow("from the loss");
    expect(values()).toEqual(before);
  });

  test("what it refuses", () => {
    const { w } = bowl([1], [1]);
    const bad: object[] = [
      { stepSize: "auto" },
      { previousGradient: "no" },
      { maxLr: 0 },
      { samples: 0 },
      { initialSamples: 0.5 },
      { seed: -1 },
      { groups: [{ match: ["w"], lr: 1 }] },
    ];
    for (const options of bad)
      expect(() => new OASIS([w], options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
