/** AdaFisher's oracles: the specification's numbers, and whole runs in a plain float64 loop. */
import { add, mean, mul, square } from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { Linear, Module } from "../../lib/nn/index.js";
import { AdaFisher, AdaFisherW } from "../../lib/optim/index.js";
import { nextDiagonal } from "../../lib/optim/adafisher-diagonal.js";
import { Tensor } from "../../lib/tensor/index.js";

function near(actual: ArrayLike<number>, wanted: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(wanted.length);
  wanted.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(tolerance);
  });
}

describe("the diagonals", () => {
  const shares = [0.08, 0.008] as const;
  const h = Float64Array.of(1, 4, 2);
  const s = Float64Array.of(0.5, 0.1);

  test("two estimates and the divisors they make", () => {
    const [h1, s1] = [nextDiagonal([1, 1, 1], h, shares), nextDiagonal([1, 1], s, shares)];
    near(h1, [0.08, 0.088, 0.08266667], 1e-8);
    near(s1, [0.08799998, 0.08], 1e-8);
    const [h2, s2] = [nextDiagonal(h1, h, shares), nextDiagonal(s1, s, shares)];
    near(h2, [0.0064, 0.01504, 0.00928], 1e-8);
    near(s2, [0.01503998, 0.0064], 1e-8);
    const divisors = (rows: Float64Array, columns: Float64Array) =>
      Array.from(rows, (a) => Array.from(columns, (b) => a * b + 1e-3)).flat();
    near(divisors(s1, h1), [0.00804, 0.008744, 0.00827466, 0.0074, 0.00804, 0.00761333], 1e-8);
    near(
      divisors(s2, h2),
      [0.00109626, 0.0012262, 0.00113957, 0.00104096, 0.00109626, 0.00105939],
      1e-8,
    );
  });

  test("the fixed point of the largest, constant estimates, infinities", () => {
    let d: ArrayLike<number> = [1, 1];
    for (let i = 0; i < 40; ++i) d = nextDiagonal(d, Float64Array.of(0, 1e6), shares);
    near(d, [0, 0.00869565], 1e-8);
    expect([...nextDiagonal([1, 1], Float64Array.of(3, 3), [0.5, 1])]).toEqual([0.5, 0.5]);
    near(nextDiagonal([0, 0, 0], Float64Array.of(0, 1e9, Infinity), [0, 1]), [0, 1, 1], 1e-9);
  });
});

/** y = (W x + b) o g, two outputs; g has no layer. */
class Net extends Module {
  readonly layer = new Linear(3, 2);
  readonly gain = Tensor.from([1, 0.5]);
  forward(x: Tensor): Tensor {
    return mul(this.layer.forward(x), this.gain);
  }
}

const data = (n: number, phase: number) =>
  Array.from({ length: n }, (_, i) => Math.sin(1.3 * i + phase) + 0.1 * (i % 3));

test.each([
  ["AdaFisher", AdaFisher],
  ["AdaFisherW", AdaFisherW],
] as const)("%s: seven steps with factors every third, two micro-batches", async (name, Method) => {
  const net = new Net();
  const batches = [0, 1].map((k) => ({ x: data(12, k), t: data(8, k + 5) }));
  const tensors = batches.map(({ x, t }) => ({
    x: Tensor.from(x, [4, 3]),
    t: Tensor.from(t, [4, 2]),
  }));
  const loss = (k: number) => mean(square(add(net.forward(tensors[k]!.x), mul(tensors[k]!.t, -1))));
  const [lr, beta, damping, decay] = [2e-3, 0.8, 0.02, 0.3];
  using optimizer = new Method(net, {
    lr,
    beta,
    damping,
    weightDecay: decay,
    interval: 3,
    averaging: [0.5, 0.4],
  });
  // The same in float64: W [2, 3] and b as rows of [W, b], g.
  const w = cutRows(
    net.layer.weight.dataSync() as Float32Array,
    net.layer.bias!.dataSync() as Float32Array,
  );
  const gain = Array.from(net.gain.dataSync());
  const m = { w: [Array(4).fill(0), Array(4).fill(0)] as number[][], gain: [0, 0] };
  let [h, s]: ArrayLike<number>[] = [
    [1, 1, 1, 1],
    [1, 1],
  ];
  for (let step = 0; step < 7; ++step) {
    const gradient = {
      w: [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
      ],
      gain: [0, 0],
    };
    const squares = { h: [0, 0, 0, 0], s: [0, 0] };
    for (const { x, t } of batches)
      for (let row = 0; row < 4; ++row) {
        const a = [...x.slice(3 * row, 3 * row + 3), 1];
        a.forEach((value, j) => (squares.h[j]! += value ** 2 / 8));
        for (const o of [0, 1]) {
          const y = a.reduce((total, value, j) => total + w[o]![j]! * value, 0);
          const r = (2 * (y * gain[o]! - t[2 * row + o]!)) / 8; // of the mean over a batch's 8 numbers
          squares.s[o]! += (r * gain[o]!) ** 2 / 8;
          gradient.gain[o]! += (r * y) / 2;
          a.forEach((value, j) => (gradient.w[o]![j]! += (r * gain[o]! * value) / 2));
        }
      }
    if (step % 3 === 0) {
      h = nextDiagonal(h!, Float64Array.from(squares.h), [0.5, 0.4]);
      s = nextDiagonal(s!, Float64Array.from(squares.s), [0.5, 0.4]);
    }
    const correction = 1 - beta ** (step + 1);
    const l2 = name === "AdaFisher";
    const move = (theta: number, g: number, momentum: number, divisor: number) => {
      const average = beta * momentum + (1 - beta) * (g + (l2 ? decay * theta : 0));
      const kept = l2 ? theta : (1 - lr * decay) * theta;
      return [kept - ((lr / correction) * average) / divisor, average] as const;
    };
    for (const o of [0, 1]) {
      for (let j = 0; j < 4; ++j)
        [w[o]![j], m.w[o]![j]] = move(
          w[o]![j]!,
          gradient.w[o]![j]!,
          m.w[o]![j]!,
          s![o]! * h![j]! + damping,
        );
      [gain[o], m.gain[o]] = move(gain[o]!, gradient.gain[o]!, m.gain[o]!, 1);
    }
    await optimizer.step(loss, { accumulate: 2 });
    near(
      net.layer.weight.dataSync() as Float32Array,
      w.flatMap((row) => row.slice(0, 3)),
      3e-6,
    );
    near(
      net.layer.bias!.dataSync() as Float32Array,
      w.map((row) => row[3]!),
      3e-6,
    );
    near(net.gain.dataSync(), gain, 3e-6);
  }
  expect(optimizer.steps).toBe(7);
});

function cutRows(weight: Float32Array, bias: Float32Array): number[][] {
  return [0, 1].map((o) => [...weight.slice(3 * o, 3 * o + 3), bias[o]!]);
}

test("with factors nothing is leaked, and state that is saved goes on to the same bits", async () => {
  const net = new Net();
  const x = Tensor.from(data(12, 0), [4, 3]);
  const loss = () => mean(square(net.forward(x)));
  using optimizer = new AdaFisher(net, { interval: 2, lr: 1e-4 });
  const values = () => [...net.parameters()].flatMap(({ tensor }) => [...tensor.dataSync()]);
  for (let i = 0; i < 5; ++i) await optimizer.step(loss);
  const before = memoryStats().liveBlocks;
  for (let i = 0; i < 100; ++i) await optimizer.step(loss);
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
  const start = [...net.parameters()].map(({ tensor }) => tensor.contiguous());
  const state = optimizer.stateDict();
  for (let i = 0; i < 5; ++i) await optimizer.step(loss);
  const wanted = values();
  using other = new AdaFisher(net, { interval: 2, lr: 1e-4 });
  other.loadStateDict(state);
  net.loadStateDict(new Map([...net.parameters()].map(({ name }, i) => [name, start[i]!])));
  for (let i = 0; i < 5; ++i) await other.step(loss);
  expect(values()).toEqual(wanted);
});

test("what it refuses", () => {
  const net = new Net();
  for (const options of [
    { interval: 0 },
    { averaging: [1] },
    { averaging: [2, 0] },
    { damping: 0 },
  ] as object[])
    expect(() => new AdaFisher(net, options)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  expect(() => new AdaFisher([] as never)).toThrow(/Module/);
});
