/** The oracles of Shampoo's specification, and what happens when a root fails. */
import { mul, sum } from "../../lib/autodiff/index.js";
import { Shampoo, type ShampooLimits, type ShampooOptions } from "../../lib/optim/index.js";
import { mergeDimensions } from "../../lib/optim/modes.js";
import { Tensor } from "../../lib/tensor/index.js";

type Options = ShampooOptions & ShampooLimits;

/** No momentum, no graft, sums, roots and their use from the first step on. */
const bare: Options = {
  lr: 1,
  momentum: 0,
  beta2: 1,
  ridge: 1e-9,
  graft: "none",
  blockSize: 2,
  rootInterval: 1,
  startStep: 1,
};

/** Follows linear losses with these gradients from 0; the update of each step, its sign turned. */
async function updates(
  shape: readonly number[],
  gradients: readonly (readonly number[])[],
  options: Options,
): Promise<{ steps: number[][]; optimizer: Shampoo; failures: number[] }> {
  const w = { name: "w", tensor: Tensor.zeros(shape) };
  const optimizer = new Shampoo([w], options);
  const steps: number[][] = [];
  const failures: number[] = [];
  let before = Array.from(w.tensor.dataSync());
  for (const gradient of gradients) {
    const slope = Tensor.from(gradient, shape);
    const { rootFailures } = await optimizer.step(() => sum(mul(w.tensor, slope)));
    failures.push(rootFailures ?? NaN);
    const after = Array.from(w.tensor.dataSync());
    steps.push(before.map((x, i) => x - (after[i] ?? NaN)));
    before = after;
  }
  return { steps, optimizer, failures };
}

function expectClose(
  actual: readonly number[] | undefined,
  expected: readonly number[] | undefined,
  tolerance: number,
): void {
  expect(actual?.length).toBe(expected?.length);
  actual?.forEach((value, i) => {
    expect(Math.abs(value - (expected?.[i] ?? NaN))).toBeLessThanOrEqual(tolerance);
  });
}

const G = [1, 2, 3, 4];
const sequence = [G, [2, -1, 0, 1], [-1, 1, 2, 3], [1, 1, -2, 1]];

describe("Shampoo", () => {
  test("one step on a matrix: the polar factor, from both roots", async () => {
    const { steps, optimizer } = await updates([2, 2], [G], bare);
    expectClose(steps[0], [-0.51449576, 0.85749293, 0.85749293, 0.51449576], 1e-6);
    const { tensors } = optimizer.stateDict();
    const state = (key: string) => Array.from(tensors.get(`w.${key}`)?.dataSync() as Float32Array);
    expectClose(state("root0.0"), [1.45249488, -0.45330954, -0.45330954, 0.62829572], 1e-6);
    expectClose(state("root0.1"), [1.24644509, -0.57693941, -0.57693941, 0.83434551], 1e-6);
  });

  test.each([
    ["adagrad", 1],
    ["rmsprop", 10],
    ["adam", 1],
  ] as const)("graft %s on the first step: its norm", async (graft, factor) => {
    const { steps } = await updates([2, 2], [G], { ...bare, graft });
    const expected = [-0.7276065, 1.2126775, 1.2126775, 0.7276065].map((x) => factor * x);
    expectClose(steps[0], expected, 2e-5 * factor);
  });

  test("graft sgd keeps the norm of the gradient, whatever the blocks", async () => {
    const gradient = Array.from({ length: 35 }, (_, i) => Math.sin(3 * i + 1));
    const { steps } = await updates([7, 5], [gradient], { ...bare, graft: "sgd", blockSize: 3 });
    expect(Math.hypot(...(steps[0] ?? []))).toBeCloseTo(Math.hypot(...gradient), 5);
  });

  test("a vector: full matrix and p = 2, or the grafted update alone", async () => {
    const options = { ...bare, blockSize: 128, ridge: 1e-6 };
    const { steps } = await updates([2], [[3, 4]], { ...options, precondition1d: true });
    // The root of a matrix of rank 1 has entries of up to 1 / sqrt(25e-6) = 200, rounded to float32, times |g| = 5.
    expectClose(steps[0], [0.6, 0.8], 200 * 5 * 2 ** -24);
    const plain = await updates([2], [[3, -4]], { ...options, graft: "adagrad" });
    expectClose(plain.steps[0], [1, -1], 1e-6);
  });

  test("blocks of one element are AdaGrad, and blocks are problems of their own", async () => {
    const { steps } = await updates([2, 2], sequence, { ...bare, blockSize: 1 });
    const squares = [0, 0, 0, 0];
    for (const [t, gradient] of sequence.entries()) {
      const expected = gradient.map((g, i) => {
        squares[i] = (squares[i] ?? NaN) + g * g;
        return g === 0 ? 0 : g / Math.sqrt(squares[i]);
      });
      expectClose(steps[t], expected, 2e-6);
    }
    const rows = 5;
    const columns = 3;
    const gradients = [0, 1, 2].map((t) =>
      Array.from({ length: rows * columns }, (_, i) => Math.sin(5 * i + 2 * t + 1)),
    );
    const whole = await updates([rows, columns], gradients, bare);
    for (const [i, high] of [
      [0, 2],
      [2, 2],
      [4, 1],
    ] as const)
      for (const [j, wide] of [
        [0, 2],
        [2, 1],
      ] as const) {
        const cut = (x: readonly number[] = []) =>
          Array.from(
            { length: high * wide },
            (_, k) => x[(i + Math.floor(k / wide)) * columns + j + (k % wide)] ?? NaN,
          );
        const options = { ...bare, mergeDimensions: false };
        const block = await updates([high, wide], gradients.map(cut), options);
        for (const t of gradients.keys()) expectClose(block.steps[t], cut(whole.steps[t]), 1e-5);
      }
  });

  test("turned gradients give turned updates", async () => {
    const [c, s] = [Math.cos(0.7), Math.sin(0.7)];
    const turn = ([a = 0, b = 0, d = 0, e = 0]: readonly number[]) => [
      c * a - s * d,
      c * b - s * e,
      s * a + c * d,
      s * b + c * e,
    ];
    for (const graft of ["sgd", "none"] as const) {
      const options = { ...bare, graft, beta2: 0.9, momentum: 0.9, ridge: 1e-6 };
      const plain = await updates([2, 2], sequence, options);
      const turned = await updates([2, 2], sequence.map(turn), options);
      for (const t of sequence.keys())
        expectClose(turned.steps[t], turn(plain.steps[t] ?? []), 2e-5);
    }
  });

  test("three axes have p = 6, and another order of the root can be asked for", async () => {
    const diagonal = [2, 0, 0, 0, 0, 0, 0, -5];
    const { steps } = await updates([2, 2, 2], [diagonal], bare);
    expectClose(steps[0], [1, 0, 0, 0, 0, 0, 0, -1], 1e-6);
    // With p = 2 on both sides: U S^-1 V^T, the transposed inverse.
    const inverse = await updates([2, 2], [G], { ...bare, rootOrder: 2 });
    expectClose(inverse.steps[0], [-2, 1.5, 1, -0.5], 2e-5);
  });

  test("momentum, with and without Nesterov; the graft before the first root; decay", async () => {
    const ones = [[1], [1], [1]];
    const options: Options = { ...bare, momentum: 0.9, graft: "sgd" };
    const updatesOf = async (more: Options) =>
      (await updates([1, 1], ones, { ...options, ...more })).steps.flat();
    expectClose(await updatesOf({}), [1.9, 2.71, 3.439], 1e-6);
    expectClose(await updatesOf({ nesterov: false }), [1, 1.9, 2.71], 1e-6);
    // AdaGrad: 1, 1 / sqrt 2 into the graft's ball, then the ball that was filled with the same norms.
    const [first, second] = [1, Math.SQRT1_2];
    const late = await updatesOf({ graft: "adagrad", startStep: 3, nesterov: false });
    expectClose(late.slice(0, 2), [first, 0.9 * first + second], 2e-6);
    const w = { name: "w", tensor: Tensor.from([2, 2, 2, 2], [2, 2]) };
    const decaying = new Shampoo([w], { ...bare, lr: 0.5, weightDecay: 0.25 });
    await decaying.step(() => sum(mul(w.tensor, 0)));
    expect(Array.from(w.tensor.dataSync())).toEqual([1.75, 1.75, 1.75, 1.75]);
  });

  test("roots are computed every so many steps, from the statistics of that step", async () => {
    const rare = await updates([2, 2], [G, G, G], { ...bare, rootInterval: 2 });
    expectClose(rare.steps[0], G, 1e-6);
    // S = 2 G G^T: each root shrinks by 2^(1/4).
    const polar = [-0.51449576, 0.85749293, 0.85749293, 0.51449576];
    const expected = polar.map((x) => x * Math.SQRT1_2);
    expectClose(rare.steps[1], expected, 1e-6);
    expectClose(rare.steps[2], expected, 1e-6);
  });

  test("a root that fails keeps the one before, is counted, saved, and at last refuses a step", async () => {
    const flat = [1, 2, 2, 4];
    const options = { ...bare, ridge: 0, maxRootFailures: 1 };
    const { steps, failures, optimizer } = await updates([2, 2], [flat, flat], options);
    expect(failures).toEqual([2, 2]);
    expect(steps).toEqual([flat, flat]);
    const w = { name: "w", tensor: Tensor.from([1, 1, 1, 1], [2, 2]) };
    const other = new Shampoo([w], options);
    const loss = () => sum(mul(w.tensor, 3));
    other.loadStateDict(optimizer.stateDict());
    await expect(other.step(loss)).rejects.toMatchObject({
      code: "NOT_CONVERGED",
      details: { factor: "w.factor0.0[0]", failures: 2 },
    });
    expect(Array.from(w.tensor.dataSync())).toEqual([1, 1, 1, 1]);
    const { tensors, metadata } = optimizer.stateDict();
    const damaged = new Map([...metadata, ["rootFailures", "[1]"]]);
    expect(() => {
      other.loadStateDict({ tensors, metadata: damaged });
    }).toThrow(expect.objectContaining({ code: "FORMAT" }) as Error);
    // A good root ends the row of failures.
    const { failures: healed } = await updates([2, 2], [flat, G, G], options);
    expect(healed).toEqual([2, 0, 0]);
  });

  test("a block whose gradients were all zero is no failure", async () => {
    const { steps, failures } = await updates([4, 2], [[...G, 0, 0, 0, 0]], bare);
    expect(failures).toEqual([0]);
    expectClose(steps[0]?.slice(4), [0, 0, 0, 0], 0);
  });

  test("axes are joined from left to right", () => {
    expect(mergeDimensions([1, 2, 512, 1, 2048, 1, 3, 4], 1024)).toEqual([1024, 2048, 12]);
    expect(mergeDimensions([128, 64, 3, 3], 10000)).toEqual([8192, 9]);
    expect(mergeDimensions([512, 256, 3, 3], 1000)).toEqual([512, 768, 3]);
    expect(mergeDimensions([1, 1], 8)).toEqual([1]);
  });

  test("what it refuses", () => {
    const w = { name: "w", tensor: Tensor.zeros([2, 2]) };
    const refuses = (options: Options, message: RegExp) => {
      expect(() => new Shampoo([w], options)).toThrow(message);
    };
    refuses({ blockSize: 0 }, /blockSize of w/);
    refuses({ rootOrder: 9 }, /rootOrder of w/);
    refuses({ rootInterval: 1.5 }, /rootInterval of w/);
    refuses({ graft: "lamb" as "sgd" }, /graft of w/);
    refuses({ maxRootFailures: -1 }, /maxRootFailures/);
    const many = { name: "v", tensor: Tensor.zeros([3, 3, 3, 3, 3]) };
    expect(() => new Shampoo([many], { blockSize: 2 })).toThrow(/rootOrder of v/);
  });
});
