/** SVRG, SAG and SAGA: the specification's numbers, and what makes them: no variance left at the minimum. */
import { mul, scale, square, sub, sum } from "../../lib/autodiff/index.js";
import { SAG, SAGA, SVRG } from "../../lib/optim/index.js";
import { copyInto } from "../../lib/ops/copy.js";
import { Tensor } from "../../lib/tensor/index.js";

// f_i = (a_i x - b_i)^2 / 2, minimum of the mean at 9 / 14.
const a = [1, 2, 3];
const b = [1, 1, 2];
const minimum = 9 / 14;

type Params = Iterable<{ name: string; tensor: Tensor }>;

function problem(start: number) {
  const w = { name: "x", tensor: Tensor.from([start]) };
  const loss = (i: number) => scale(sum(square(sub(scale(w.tensor, a[i]!), b[i]!))), 0.5);
  return {
    params: [w],
    loss,
    set: (value: number) => {
      copyInto("test", Tensor.from([value]), w.tensor);
    },
    value: () => w.tensor.dataSync()[0]!,
  };
}
/** 0 at the first steps, then 1. */
const after = (steps: number) => (step: number) => (step < steps ? 0 : 1);

test.each([
  [0, -1.16666667],
  [1, -2.66666667],
  [2, -5.16666667],
])("SVRG at 0 with the snapshot at 1/2, batch %i", async (i, v) => {
  const { params, loss, set, value } = problem(0.5);
  using optimizer = new SVRG(params, { batches: 3, lr: after(1) });
  await optimizer.step(() => loss(0), { fullLoss: loss });
  set(0);
  await optimizer.step(() => loss(i));
  expect(Math.abs(value() + v)).toBeLessThan(1e-6);
});

test.each([
  ["SAGA", SAGA, [-2.2, -2.06666667]],
  ["SAG", SAG, [-2.73333333, undefined]],
] as const)("%s with the table at 0, now at 0.2", async (_, Method, [second, average]) => {
  const directions: number[] = [];
  for (const i of [0, 1, 2]) {
    const { params, loss, set, value } = problem(0);
    using optimizer = new Method(params, { batches: 3, lr: after(3) });
    for (const j of [0, 1, 2]) await optimizer.step(() => loss(j));
    set(0.2);
    await optimizer.step(() => loss(i), { batch: i });
    directions.push(0.2 - value());
  }
  expect(Math.abs(directions[1]! - second)).toBeLessThan(1e-6);
  const total = directions.reduce((sum_, v) => sum_ + v, 0) / 3;
  if (average !== undefined) expect(Math.abs(total - average)).toBeLessThan(1e-6);
});

test("SAG divides by the batches it has seen, SAGA by all of them", async () => {
  // From x = 0: g_0 = -1, g_2 = -6; lr 1.
  const directions = async (Method: typeof SAG | typeof SAGA) => {
    const { params, loss, set, value } = problem(0);
    using optimizer = new Method(params, { batches: 3, lr: 1 });
    const found: number[] = [];
    for (const i of [0, 2]) {
      set(0);
      await optimizer.step(() => loss(i), { batch: i });
      found.push(-value());
    }
    return found;
  };
  expect(await directions(SAG)).toEqual([-1, -3.5]);
  const saga = await directions(SAGA);
  expect(saga[0]).toBe(-1);
  expect(Math.abs(saga[1]! - (-6 - 1 / 3))).toBeLessThan(1e-6);
});

test("at the minimum, with table or snapshot there, no batch moves it", async () => {
  for (const make of [
    (params: Params) => new SVRG(params, { batches: 3, lr: 0.5 }),
    (params: Params) => new SAGA(params, { batches: 3, lr: (step) => (step < 3 ? 0 : 0.5) }),
    (params: Params) => new SAG(params, { batches: 3, lr: (step) => (step < 3 ? 0 : 0.5) }),
  ]) {
    const { params, loss, value } = problem(minimum);
    using optimizer = make(params);
    for (let t = 0; t < 3; ++t) await optimizer.step(() => loss(t), { fullLoss: loss });
    for (const i of [2, 0, 1, 1]) {
      if (optimizer.steps % 6 === 0) break; // the next snapshot
      await optimizer.step(() => loss(i), { batch: i });
      expect(Math.abs(value() - minimum)).toBeLessThan(1e-6);
    }
  }
});

test.each([
  ["SVRG", (params: Params) => new SVRG(params, { batches: 32, lr: 0.2 })],
  ["SAGA", (params: Params) => new SAGA(params, { batches: 32, lr: 0.3 })],
  ["SAG", (params: Params) => new SAG(params, { batches: 32, lr: 0.1 })],
])(
  "%s reaches the minimum of a noisy least squares problem with a constant step",
  async (_, make) => {
    const rows = 32;
    const x = Array.from(
      { length: rows },
      (_, i) => [Math.sin(1.7 * i), Math.cos(2.9 * i)] as const,
    );
    const y = x.map(([u, v], i) => 2 * u - v + 0.5 * Math.sin(7 * i));
    const w = { name: "w", tensor: Tensor.zeros([2]) };
    const inputs = x.map((row) => Tensor.from([...row]));
    const loss = (i: number) => scale(square(sub(sum(mul(w.tensor, inputs[i]!)), y[i]!)), 0.5);
    using optimizer = make([w]);
    let state = 1;
    for (let t = 0; t < 40 * rows; ++t) {
      state = (state * 48271) % 2147483647;
      const batch = state % rows;
      await optimizer.step(() => loss(batch), { fullLoss: loss, batch });
    }
    // The normal equations.
    const total = (f: (row: readonly [number, number], t: number) => number) =>
      x.reduce((sum_, row, i) => sum_ + f(row, y[i]!), 0);
    const [uu, uv, vv] = [total(([u]) => u * u), total(([u, v]) => u * v), total(([, v]) => v * v)];
    const [uy, vy] = [total(([u], t) => u * t), total(([, v], t) => v * t)];
    const determinant = uu * vv - uv * uv;
    const wanted = [(vv * uy - uv * vy) / determinant, (uu * vy - uv * uy) / determinant];
    w.tensor.dataSync().forEach((value, j) => {
      expect(Math.abs(value - wanted[j]!)).toBeLessThan(1e-5);
    });
  },
);

test("what they refuse", async () => {
  const { params, loss } = problem(0);
  for (const options of [{ batches: 0 }, { batches: 3, innerSteps: 0 }, {}] as {
    batches: number;
  }[])
    expect(() => new SVRG(params, options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  expect(() => new SAGA(params, { batches: 1.5 })).toThrow(/batches/);
  using svrg = new SVRG(params, { batches: 3 });
  await expect(svrg.step(() => loss(0))).rejects.toThrow(/fullLoss/);
  using saga = new SAGA(params, { batches: 3 });
  await expect(saga.step(() => loss(0), { batch: 3 })).rejects.toThrow(/batch/);
});
