/** MKOR's oracles: the specification's numbers, dense inverses, and the whole method in a plain float64 loop. */
import { add, mean, mul, square } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { Linear, Module } from "../../lib/nn/index.js";
import { MKOR, SGD } from "../../lib/optim/index.js";
import { MkorSwitch } from "../../lib/optim/mkor-switch.js";
import { identity, stabilize, updateInverse } from "../../lib/optim/rank-one-inverse.js";
import { Tensor } from "../../lib/tensor/index.js";
import { numbers } from "../helpers/flat-data.js";

function near(actual: ArrayLike<number>, wanted: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(wanted.length);
  wanted.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(tolerance);
  });
}

/** The inverse of a positive definite matrix by Gauss-Jordan elimination. */
function inverseOf(matrix: readonly (readonly number[])[]): number[][] {
  const n = matrix.length;
  const system = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  system.forEach((row, i) => {
    const pivot = row[i]!;
    row.forEach((_, j) => (row[j]! /= pivot));
    system.forEach((other, k) => {
      const factor = other[i]!;
      if (k !== i) other.forEach((_, j) => (other[j]! -= factor * row[j]!));
    });
  });
  return system.map((row) => row.slice(n));
}

describe("the inverse after one more vector", () => {
  test.each([
    ["official", [0.83333333, -0.33333333, -0.33333333, 0.33333333]],
    ["ema", [1.00877193, -0.0877193, -0.0877193, 0.87719298]],
  ] as const)("%s, v = (1, 2)", async (mode, wanted) => {
    using inverse = identity(2, "cpu");
    await updateInverse(inverse, Float64Array.of(1, 2), { decay: 0.95, mode });
    near(inverse.dataSync() as Float32Array, wanted, 1e-6);
  });

  test("100 random vectors of 32: the dense inverse, symmetric to the bit; the stabilizer would have acted", async () => {
    const n = 32;
    const draw = numbers(11);
    using inverse = identity(n, "cpu");
    const statistic: number[][] = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (__, j) => (i === j ? 1 : 0)),
    );
    for (let t = 0; t < 100; ++t) {
      const v = Float64Array.from({ length: n }, () => Math.fround(draw()));
      await updateInverse(inverse, v, { decay: 0.95, mode: "ema" });
      statistic.forEach((row, i) => {
        row.forEach((s, j) => (row[j] = 0.95 * s + 0.05 * v[i]! * v[j]!));
      });
    }
    const wanted = inverseOf(statistic).flat();
    const size = Math.max(...wanted.map(Math.abs));
    const values = inverse.dataSync() as Float32Array;
    near(values, wanted, 1e-4 * size);
    for (let i = 0; i < n; ++i)
      for (let j = 0; j < i; ++j) expect(values[i * n + j]).toBe(values[j * n + i]);
  });

  test("an inverse with an element above 2 is drawn to the identity", async () => {
    using large = Tensor.from([4, -1, -1, 1], [2, 2]);
    expect(await stabilize(large, 0.1)).toBe(true);
    near(large.dataSync(), [3.7, -0.9, -0.9, 1], 1e-6);
    using small = Tensor.from([2, -1, -1, 1], [2, 2]);
    expect(await stabilize(small, 0.1)).toBe(false);
    near(small.dataSync(), [2, -1, -1, 1], 0);
  });
});

class Net extends Module {
  readonly layer = new Linear(3, 2);
  readonly gain = Tensor.from([1, 0.5]);
  forward(x: Tensor): Tensor {
    return mul(this.layer.forward(x), this.gain);
  }
}
const data = (n: number, phase: number) =>
  Array.from({ length: n }, (_, i) => Math.sin(1.3 * i + phase) + 0.1 * (i % 3));

function setting() {
  const net = new Net();
  const batches = [0, 1].map((k) => ({ x: data(12, k), t: data(8, k + 5) }));
  const tensors = batches.map(
    ({ x, t }) => [Tensor.from(x, [4, 3]), Tensor.from(t, [4, 2])] as const,
  );
  const loss = (k: number) =>
    mean(square(add(net.forward(tensors[k]![0]), mul(tensors[k]![1], -1))));
  const rows = () => {
    const weight = net.layer.weight.dataSync() as Float32Array;
    const bias = net.layer.bias!.dataSync() as Float32Array;
    return [0, 1].map((o) => [...weight.slice(3 * o, 3 * o + 3), bias[o]!]);
  };
  return { net, batches, loss, rows };
}

test("five steps over gradient descent, two micro-batches, factors every second step", async () => {
  const { net, batches, loss, rows } = setting();
  const [lr, decay] = [0.05, 0.8];
  const base = new SGD(net.parameters(), { lr, momentum: 0 });
  using optimizer = new MKOR(net, base, { interval: 2, decay, stabilization: 0, clip: 0.6 });
  const w = rows();
  const gain = Array.from(net.gain.dataSync());
  const start = (n: number): number[][] =>
    Array.from({ length: n }, (_, i) => Array.from({ length: n }, (__, j) => (i === j ? 1 : 0)));
  const [a, g] = [start(4), start(2)];
  const take = (statistic: number[][], v: number[]) => {
    const clipped = v.map((x) => Math.min(Math.max(x, -0.6), 0.6));
    statistic.forEach((row, i) => {
      row.forEach((s, j) => (row[j] = decay * s + (1 - decay) * clipped[i]! * clipped[j]!));
    });
  };
  for (let step = 0; step < 5; ++step) {
    const gradient = [Array<number>(4).fill(0), Array<number>(4).fill(0)];
    const gainGradient = [0, 0];
    const means = { a: [0, 0, 0, 0], g: [0, 0] };
    for (const { x, t } of batches)
      for (let row = 0; row < 4; ++row) {
        const input = [...x.slice(3 * row, 3 * row + 3), 1];
        input.forEach((value, j) => (means.a[j]! += value / 8));
        for (const o of [0, 1]) {
          const y = input.reduce((total, value, j) => total + w[o]![j]! * value, 0);
          const r = (2 * (y * gain[o]! - t[2 * row + o]!)) / 8;
          means.g[o]! += (r * gain[o]!) / 2; // the sum over a batch of 4 times r / 4 each, averaged over batches
          gainGradient[o]! += (r * y) / 2;
          input.forEach((value, j) => (gradient[o]![j]! += (r * gain[o]! * value) / 2));
        }
      }
    if (step % 2 === 0) {
      take(a, means.a);
      take(g, means.g);
    }
    const [left, right] = [inverseOf(g), inverseOf(a)];
    const u = left.map((line) =>
      right[0]!.map((_, j) =>
        line.reduce(
          (total, l, o) =>
            total + l * gradient[o]!.reduce((s, value, k) => s + value * right[k]![j]!, 0),
          0,
        ),
      ),
    );
    const lengths = (m: number[][]) =>
      Math.hypot(...m.flatMap((row) => row.slice(0, 3))) + Math.hypot(...m.map((row) => row[3]!));
    const ratio = lengths(gradient) / lengths(u);
    w.forEach((row, o) => {
      row.forEach((_, j) => (row[j]! -= lr * ratio * u[o]![j]!));
    });
    gain.forEach((_, o) => (gain[o]! -= lr * gainGradient[o]!));
    expect(await optimizer.step(loss, { accumulate: 2 })).toMatchObject({ preconditioned: true });
    near(rows().flat(), w.flat(), 1e-5);
    near(net.gain.dataSync(), gain, 1e-5);
  }
});

test("while both factors are the identity it is the base, to the bit; the official first update leaves them so", async () => {
  const [one, two] = [setting(), setting()];
  two.net.loadStateDict(one.net.stateDict());
  using base = new SGD(one.net.parameters(), { lr: 0.1 });
  using optimizer = new MKOR(two.net, new SGD(two.net.parameters(), { lr: 0.1 }), {
    mode: "official",
    interval: 4,
  });
  for (let t = 0; t < 4; ++t) {
    await base.step(one.loss);
    await optimizer.step(two.loss);
  }
  expect(two.rows()).toEqual(one.rows());
  for (let t = 0; t < 2; ++t) {
    await base.step(one.loss);
    await optimizer.step(two.loss);
  }
  expect(two.rows()).not.toEqual(one.rows()); // from the second update on
});

test("MKOR-H gives up once the loss falls five times slower than it did, and not before", () => {
  const rule = new MkorSwitch(2, 80);
  const dropped: number[] = [];
  let loss = 1;
  for (let step = 0; step < 80; ++step) {
    loss *= step < 40 ? 0.9 : 1; // falls by 19 % a window, then not at all
    if (rule.add(loss)) dropped.push(step);
  }
  // Windows of 2 fall by 0.19 until the 20th; the 21st, half of whose fall is over, by 1 - 0.9 / 0.95. The smoothed rate is then
  // 0.9 * 0.19 + 0.1 * 0.0526 = 0.176, and a tenth less in each window: below 0.2 * 0.19 in the 36th and the 37th.
  expect(dropped[0]).toBe(2 * 37 - 1);
  const falling = new MkorSwitch(2, 80);
  for (let step = 0; step < 80; ++step) expect(falling.add(0.9 ** step)).toBe(false);
});

test("without its factors MKOR-H is the base, and a state without them can be loaded", async () => {
  const { net, loss } = setting();
  const make = () =>
    new MKOR(net, new SGD(net.parameters(), { lr: (step) => (step < 4 ? 0.2 : 0) }), {
      interval: 1,
      hybrid: { steps: 16, window: 1 },
    });
  using optimizer = make();
  const used: boolean[] = [];
  for (let t = 0; t < 40; ++t) used.push((await optimizer.step(loss)).preconditioned!);
  expect([used[0], used.at(-1)]).toEqual([true, false]);
  const state = optimizer.stateDict();
  expect([...state.tensors.keys()].some((name) => name.includes("Inverse"))).toBe(false);
  using other = make();
  other.loadStateDict(state);
  expect(await other.step(loss)).toMatchObject({ preconditioned: false });
});

test("saved and loaded with factors: the same bits; nothing is leaked", async () => {
  const [one, two] = [setting(), setting()];
  two.net.loadStateDict(one.net.stateDict());
  const make = (net: Net) =>
    new MKOR(net, new SGD(net.parameters(), { lr: 0.05 }), { interval: 2 });
  using whole = make(one.net);
  using first = make(two.net);
  for (let t = 0; t < 5; ++t) {
    await whole.step(one.loss);
    await first.step(two.loss);
  }
  using second = make(two.net);
  second.loadStateDict(first.stateDict());
  for (let t = 0; t < 5; ++t) {
    await whole.step(one.loss);
    await second.step(two.loss);
  }
  expect(two.rows()).toEqual(one.rows());
  const before = memoryStats().liveBlocks;
  for (let t = 0; t < 50; ++t) await whole.step(one.loss);
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
});

test("excluded layers keep their gradients, and what it refuses", async () => {
  const [one, two] = [setting(), setting()];
  two.net.loadStateDict(one.net.stateDict());
  using base = new SGD(one.net.parameters(), { lr: 0.1 });
  const inner = new SGD(two.net.parameters(), { lr: 0.1 });
  using optimizer = new MKOR(two.net, inner, { exclude: ["layer"], interval: 1 });
  for (let t = 0; t < 3; ++t) {
    await base.step(one.loss);
    await optimizer.step(two.loss);
  }
  expect(two.rows()).toEqual(one.rows());
  for (const options of [
    { interval: 0 },
    { warmup: -1 },
    { decay: 1 },
    { mode: "paper" },
    { stabilization: 2 },
    { clip: 0 },
    { exclude: ["nothing"] },
    { hybrid: { steps: 0 } },
  ] as object[])
    expect(() => new MKOR(two.net, inner, options)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
});
