import {
  log,
  matmul,
  mean,
  mul,
  neg,
  sigmoid,
  sub,
  add,
  square,
  sum,
  scale,
} from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { lbfgs, modelProblem, newton, trustRegion } from "../../lib/solvers/index.js";
import { Tensor } from "../../lib/tensor/index.js";

const rows = 40;
const features = Array.from({ length: rows }, (_, i) => [
  Math.sin(1.7 * i),
  Math.cos(0.9 * i) + 0.3 * Math.sin(5 * i),
]);
const labels = Array.from({ length: rows }, (_, i) =>
  Math.sin(1.7 * i) + 0.8 * Math.cos(3.1 * i) > 0 ? 1 : 0,
);
const ridge = 1e-2;

/** Logistic regression with a ridge, the weight and the bias as two parameters. */
function logistic(dtype: "float32" | "float64") {
  const x = Tensor.from(features.flat(), [rows, 2], { dtype });
  const y = Tensor.from(labels, [rows, 1], { dtype });
  const params = [
    { name: "weight", tensor: Tensor.zeros([2, 1], { dtype }) },
    { name: "bias", tensor: Tensor.zeros([1], { dtype }) },
  ] as const;
  const [weight, bias] = [params[0].tensor, params[1].tensor];
  const loss = () => {
    const p = sigmoid(add(matmul(x, weight), bias));
    const fit = neg(mean(add(mul(y, log(p)), mul(sub(1, y), log(sub(1, p))))));
    return add(fit, scale(add(sum(square(weight)), sum(square(bias))), ridge / 2));
  };
  return { params, loss };
}

/** The same by Newton's method in plain float64, to the last digits. */
function solution(): { theta: number[]; value: number } {
  const theta = [0, 0, 0];
  const inputs = features.map((row) => [...row, 1]);
  const probability = (row: readonly number[]) =>
    1 / (1 + Math.exp(-row.reduce((total, a, j) => total + a * theta[j]!, 0)));
  for (let pass = 0; pass < 30; ++pass) {
    const gradient = theta.map((t) => ridge * t);
    const matrix = theta.map((_, i) => theta.map((__, j) => (i === j ? ridge : 0)));
    inputs.forEach((row, k) => {
      const p = probability(row);
      row.forEach((a, i) => {
        gradient[i]! += ((p - labels[k]!) * a) / rows;
        row.forEach((b, j) => (matrix[i]![j]! += (p * (1 - p) * a * b) / rows));
      });
    });
    // Gauss-Jordan without pivots: the matrix is positive definite.
    const system = matrix.map((row, i) => [...row, gradient[i]!]);
    system.forEach((row, i) => {
      const pivot = row[i]!;
      row.forEach((_, j) => (row[j]! /= pivot));
      system.forEach((other, k) => {
        const factor = other[i]!;
        if (k !== i) other.forEach((_, j) => (other[j]! -= factor * row[j]!));
      });
    });
    theta.forEach((_, i) => (theta[i]! -= system[i]![3]!));
  }
  const fit = inputs.reduce((total, row, k) => {
    const p = probability(row);
    return total - Math.log(labels[k] === 1 ? p : 1 - p) / rows;
  }, 0);
  return { theta, value: fit + (ridge / 2) * theta.reduce((total, t) => total + t * t, 0) };
}

const best = solution();

test.each([
  ["lbfgs", lbfgs, 1e-6],
  ["newton with the Hessian", newton, 1e-9],
  [
    "newton with products",
    (problem: ReturnType<typeof modelProblem>, x0: Float64Array) =>
      newton({ ...problem, hessian: undefined }, x0),
    1e-6,
  ],
  ["trustRegion", trustRegion, 1e-6],
] as const)("%s trains a logistic regression to its minimum", async (_, solve, tolerance) => {
  const { params, loss } = logistic("float64");
  const problem = modelProblem(loss, params);
  const { status, x, value } = await solve(problem, problem.start());
  expect(status).toBe("converged");
  best.theta.forEach((wanted, i) => {
    expect(Math.abs(x[i]! - wanted)).toBeLessThan(100 * tolerance); // the Hessian's least eigenvalue is ridge
  });
  expect(Math.abs(value - best.value)).toBeLessThan(1e-10);
  problem.assign(x);
  expect(Math.abs(Number(loss().dataSync()[0]) - value)).toBeLessThan(1e-14);
});

test("float32 parameters come as near as their digits allow", async () => {
  const { params, loss } = logistic("float32");
  const problem = modelProblem(loss, params);
  const { x } = await lbfgs(problem, problem.start(), { gradientTolerance: 1e-5 });
  best.theta.forEach((wanted, i) => {
    expect(Math.abs(x[i]! - wanted)).toBeLessThan(2e-3);
  });
});

test("the parameters are where the last evaluation put them, and nothing is leaked", async () => {
  const { params, loss } = logistic("float64");
  const problem = modelProblem(loss, params);
  const x = Float64Array.of(0.5, -1, 0.25);
  const v = Float64Array.of(1, 2, 3);
  const all = async () => {
    await problem.value(x);
    await problem.gradient(x);
    await problem.hessian(x);
    return await problem.hvp(x, v);
  };
  await all();
  expect([...problem.start()]).toEqual([...x]);
  expect([...params[0].tensor.dataSync()]).toEqual([0.5, -1]);
  const before = memoryStats().liveBlocks;
  const product = await all();
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
  const matrix = await problem.hessian(x);
  [0, 1, 2].forEach((i) => {
    const wanted = [0, 1, 2].reduce((total, j) => total + matrix[3 * i + j]! * v[j]!, 0);
    expect(Math.abs(product[i]! - wanted)).toBeLessThan(1e-14);
  });
});

test("a vector of another length and an error of the loss", async () => {
  const { params, loss } = logistic("float64");
  const problem = modelProblem(loss, params);
  expect(() => {
    problem.assign(new Float64Array(2));
  }).toThrow(expect.objectContaining({ code: "SHAPE" }));
  expect(() => modelProblem(loss, [])).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  const failing = modelProblem(() => {
    throw new Error("from the loss");
  }, params);
  expect(await lbfgs(failing, failing.start())).toMatchObject({ status: "failed" });
});
