/** FOSI's oracles: the specification's numbers, Newton steps worked by hand, and the base optimizer alone. */
import { add, concat, matmul, mul, reshape, scale, square, sum } from "../../lib/autodiff/index.js";
import { AdamW, FOSI, SGD } from "../../lib/optim/index.js";
import { extremeEigenpairs } from "../../lib/optim/fosi-eigenpairs.js";
import { Tensor } from "../../lib/tensor/index.js";

function near(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(tolerance);
  });
}

/** f = x^T H x / 2 + slope^T x over parameters of the given sizes, from a start. */
function quadratic(
  h: readonly (readonly number[])[],
  start: readonly number[],
  sizes: number[],
  slope?: number[],
) {
  const n = start.length;
  const matrix = Tensor.from(h.flat(), [n, n]);
  const linear = Tensor.from(slope ?? start.map(() => 0), [n, 1]);
  let at = 0;
  const params = sizes.map((size, k) => ({
    name: `w${k}`,
    tensor: Tensor.from(start.slice(at, (at += size))),
  }));
  return {
    params,
    loss: () => {
      const x = reshape(concat(params.map(({ tensor }) => tensor)), [n, 1]);
      return add(scale(sum(mul(matmul(matrix, x), x)), 0.5), sum(mul(linear, x)));
    },
    values: () => params.flatMap(({ tensor }) => Array.from(tensor.dataSync())),
  };
}
const diagonal = (entries: readonly number[]) =>
  entries.map((entry, i) => entries.map((_, j) => (i === j ? entry : 0)));
const plainSGD = (params: Iterable<{ name: string; tensor: Tensor }>, lr: number) =>
  new SGD(params, { lr, momentum: 0 });

test.each([[[3]], [[1, 2]]])(
  "a Newton step along the first axis, gradient steps beside it; sizes %j",
  async (sizes) => {
    const { params, loss, values } = quadratic(diagonal([100, 1, 0.5]), [1, 1, 1], sizes);
    using optimizer = new FOSI(plainSGD(params, 0.1), { largest: 1, alpha: 1, warmup: 1 });
    for (const wanted of [
      [0, 0.9, 0.95],
      [0, 0.81, 0.9025],
      [0, 0.729, 0.857375],
    ]) {
      await optimizer.step(loss);
      near(values(), wanted, 2e-6);
    }
  },
);

test("the base's step is scaled by lambda_max / lambda_k: factors 0.75 and 0.875", async () => {
  const { params, loss, values } = quadratic(diagonal([100, 40, 1, 0.5]), [1, 1, 1, 1], [4]);
  using optimizer = new FOSI(plainSGD(params, 0.1), { largest: 2, alpha: 0.5, warmup: 1 });
  for (const [k, inside, y, z] of [
    [1, 0.5, 0.75, 0.875],
    [2, 0.25, 0.5625, 0.765625],
  ] as const) {
    expect(await optimizer.step(loss)).toMatchObject({ refreshed: k === 1 });
    near(values(), [inside, inside, y, z], 3e-6);
  }
});

test("all eigenvectors and alpha 1: one step to the minimum", async () => {
  const h = [
    [4, 1, 0],
    [1, 3, 1],
    [0, 1, 2],
  ];
  // H x = -slope for x = (1, -1, 2).
  const { params, loss, values } = quadratic(h, [3, 2, -1], [1, 2], [-3, -0, -3]);
  using optimizer = new FOSI(plainSGD(params, 0.1), { largest: 3, alpha: 1, warmup: 1 });
  await optimizer.step(loss);
  near(values(), [1, -1, 2], 5e-6);
});

test("an indefinite Hessian: the saddle-free step -|H|^-1 g", async () => {
  // Eigenvalues 3 along (1, 1) and -1 along (1, -1): from (a, b) = (2, 1) the step keeps the second and doubles it.
  const h = [
    [1, 2],
    [2, 1],
  ];
  const { params, loss, values } = quadratic(h, [2, 1], [2]);
  using optimizer = new FOSI(plainSGD(params, 0.1), {
    largest: 1,
    smallest: 1,
    alpha: 1,
    warmup: 1,
  });
  await optimizer.step(loss);
  near(values(), [1, -1], 3e-6);
});

describe("over AdamW", () => {
  test("momentum inside, AdamW outside, as each of them alone", async () => {
    const curvatures = [100, 1, 0.5];
    const one = quadratic(diagonal(curvatures), [1, 1, 1], [3]);
    const other = quadratic(diagonal([1, 0.5]), [1, 1], [2]);
    using optimizer = new FOSI(new AdamW(one.params, { lr: 0.01, weightDecay: 0 }), {
      largest: 1,
      warmup: 1,
      interval: 3,
    });
    using alone = new AdamW(other.params, { lr: 0.01, weightDecay: 0 });
    let [x, q] = [1, 0];
    for (let t = 0; t < 8; ++t) {
      await optimizer.step(one.loss);
      await alone.step(other.loss);
      q = 0.1 * 100 * x + 0.9 * q;
      x -= (0.1 * q) / 100;
      near(one.values(), [x, ...other.values()], 2e-5);
    }
  });

  test("before the first eigenvectors, and without any, to the bit", async () => {
    const runs = [undefined, { largest: 0 }, { largest: 2, warmup: 6 }].map((options) => {
      const { params, loss, values } = quadratic(diagonal([9, 4, 1]), [1, 2, 3], [2, 1]);
      const base = new AdamW(params, { lr: 0.1 });
      return { optimizer: options ? new FOSI(base, options) : base, loss, values };
    });
    for (let t = 0; t < 5; ++t) for (const { optimizer, loss } of runs) await optimizer.step(loss);
    const [alone, none, later] = runs.map(({ values }) => values());
    expect(none).toEqual(alone);
    expect(later).toEqual(alone);
    await runs[0]!.optimizer.step(runs[0]!.loss);
    await runs[2]!.optimizer.step(runs[2]!.loss);
    expect(runs[2]!.values()).not.toEqual(runs[0]!.values());
    for (const { optimizer } of runs) optimizer.dispose();
  });
});

test("the eigenvectors are orthonormal, and of a fixed batch where one is given", async () => {
  const h = [
    [5, 1, 0, 1],
    [1, 4, 1, 0],
    [0, 1, 3, 1],
    [1, 0, 1, 2],
  ];
  const fixed = quadratic(h, [1, 2, 3, 4], [4]);
  const moving = () => scale(sum(square(fixed.params[0]!.tensor)), 0.5);
  using optimizer = new FOSI(plainSGD(fixed.params, 0.01), {
    largest: 2,
    warmup: 1,
    curvatureLoss: fixed.loss,
  });
  await optimizer.step(moving);
  const { tensors } = optimizer.stateDict();
  const v = Array.from(tensors.get("w0.vectors")!.dataSync() as Float32Array);
  const rows = [v.slice(0, 4), v.slice(4)];
  const dot = (a: number[], b: number[]) => a.reduce((total, x, i) => total + x * b[i]!, 0);
  near(
    [dot(rows[0]!, rows[0]!), dot(rows[1]!, rows[1]!), dot(rows[0]!, rows[1]!)],
    [1, 1, 0],
    1e-6,
  );
  for (const row of rows) {
    const image = h.map((line) => dot(line, row));
    const value = dot(image, row);
    near(
      image,
      row.map((x) => value * x),
      5e-6 * value,
    );
  }
  for (const tensor of tensors.values()) tensor.dispose();
});

test("pairs that Lanczos has not resolved are left out", async () => {
  const n = 400;
  const spectrum = Tensor.from(Float32Array.from({ length: n }, (_, i) => (i + 1) / 2));
  const w = { name: "w", tensor: Tensor.zeros([n]) };
  const loss = () => sum(mul(spectrum, square(w.tensor)));
  const question = { largest: 1, smallest: 1, batches: 1, seed: 0 };
  const { vectors, inverse, scale: grown } = await extremeEigenpairs(loss, [w], question);
  expect(inverse[0]).toBe(0); // the small one: residual above a tenth of it
  expect(1 / inverse[1]!).toBeGreaterThan(380);
  expect(grown).toBe(1);
  vectors.dispose();
});

test("what it refuses", () => {
  const { params } = quadratic(diagonal([1]), [1], [1]);
  const base = () => plainSGD(params, 0.1);
  for (const options of [
    { largest: -1 },
    { smallest: 0.5 },
    { interval: 0 },
    { warmup: 0 },
    { alpha: 0 },
    { maxScale: 0.5 },
    { momentum: "adam" },
    { curvatureLoss: 3 },
  ] as object[])
    expect(() => new FOSI(base(), options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  expect(() => new FOSI({} as never)).toThrow(/optimizer/);
  expect(() => new FOSI(new SGD(params, { clipNorm: 1 }))).toThrow(/clipNorm/);
});
