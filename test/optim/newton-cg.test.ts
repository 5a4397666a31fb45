/** Subsampled Newton-CG: Newton steps worked by hand. */
import { add, matmul, mul, reshape, scale, square, sum, cos } from "../../lib/autodiff/index.js";
import { NewtonCG } from "../../lib/optim/index.js";
import { Tensor } from "../../lib/tensor/index.js";

const near = (actual: ArrayLike<number>, wanted: readonly number[], tolerance: number) => {
  wanted.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(tolerance);
  });
};

function quadratic(h: readonly number[], slope: readonly number[], start: readonly number[]) {
  const n = start.length;
  const matrix = Tensor.from([...h], [n, n]);
  const linear = Tensor.from([...slope]);
  const w = { name: "w", tensor: Tensor.from([...start]) };
  const loss = () => {
    const x = reshape(w.tensor, [n, 1]);
    return add(scale(sum(mul(matmul(matrix, x), x)), 0.5), sum(mul(linear, w.tensor)));
  };
  return { w, loss, values: () => Array.from(w.tensor.dataSync()) };
}

test("a quadratic is solved in one step of n products", async () => {
  const { w, loss, values } = quadratic([4, 1, 1, 3], [-1, -2], [2, -1]);
  using optimizer = new NewtonCG([w], { tolerance: 1e-6 });
  expect(await optimizer.step(loss)).toMatchObject({ stepSize: 1 });
  near(values(), [1 / 11, 7 / 11], 1e-5);
});

test("one product: steepest descent with the exact step g^T g / g^T H g", async () => {
  const { w, loss, values } = quadratic([4, 1, 1, 3], [-1, -2], [0, 0]);
  using optimizer = new NewtonCG([w], { maxIterations: 1, tolerance: 1e-6 });
  expect(await optimizer.step(loss)).toMatchObject({ products: 1 });
  near(values(), [0.25, 0.5], 1e-6);
});

test("the Hessian of another loss: its Newton direction", async () => {
  const { w, loss, values } = quadratic([1, 0, 0, 1], [0, 0], [1, 1]);
  const curvatureLoss = () => {
    const scaled = Tensor.from([1, 2]);
    return sum(mul(scaled, square(w.tensor)));
  };
  using optimizer = new NewtonCG([w], { tolerance: 1e-6 });
  await optimizer.step(loss, { curvatureLoss });
  near(values(), [0.5, 0.75], 1e-6);
});

test("negative curvature first: along the gradient, halved until Armijo holds", async () => {
  // cos from 0.5: f' = -sin, f'' = -cos < 0. x + a sin(x), a = 1.
  const w = { name: "w", tensor: Tensor.from([0.5]) };
  using optimizer = new NewtonCG([w]);
  expect(await optimizer.step(() => sum(cos(w.tensor)))).toMatchObject({ stepSize: 1 });
  near(w.tensor.dataSync(), [0.5 + Math.sin(0.5)], 1e-6);
});

test("a step that overshoots is halved, and one that cannot help is not taken", async () => {
  const { w, loss, values } = quadratic([1], [0], [1]);
  // The curvature said 1/8: the whole step goes to -7, a half to -3, a quarter to -1: as high as before; an eighth to 0.
  const curvatureLoss = () => scale(sum(square(w.tensor)), 1 / 16);
  using optimizer = new NewtonCG([w]);
  expect(await optimizer.step(loss, { curvatureLoss })).toMatchObject({ stepSize: 1 / 8 });
  near(values(), [0], 1e-6);
  const far = quadratic([1], [0], [1]);
  using stuck = new NewtonCG([far.w], { maxHalvings: 1 });
  const result = await stuck.step(far.loss, {
    curvatureLoss: () => scale(sum(square(far.w.tensor)), 1 / 16),
  });
  expect(result).toMatchObject({ stepSize: 0 });
  expect(far.values()).toEqual([1]);
});

test("what it refuses", () => {
  const { w } = quadratic([1], [0], [1]);
  for (const options of [{ maxIterations: 0 }, { tolerance: 1 }, { maxHalvings: -1 }])
    expect(() => new NewtonCG([w], options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
});
