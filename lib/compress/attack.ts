import { valueAndGrad } from "../autodiff/index.js";
import { ArgumentError, NumericalError, abortError, expected } from "../errors.js";
import { binary } from "../ops/binary.js";
import { checkInteger, checkNumber, checkTensor } from "../ops/check.js";
import { compare } from "../ops/compare.js";
import { copyInto } from "../ops/copy.js";
import { findNonFinite } from "../ops/find-non-finite.js";
import { randomUniform } from "../ops/random.js";
import { reduce } from "../ops/reduce.js";
import { item } from "../ops/tensor-mean.js";
import { unary } from "../ops/unary.js";
import { axpby } from "../ops/vector-update.js";
import { Tensor } from "../tensor/index.js";

export interface AttackOptions {
  /** Most that an input may change, > 0. Default 0.03. */
  readonly radius?: number | undefined;
  /** Default 10. */
  readonly steps?: number | undefined;
  /** Default `2.3 radius / steps`, or radius for one step. */
  readonly stepSize?: number | undefined;
  /** Inputs stay within these. Default 0 and 1. */
  readonly range?: readonly [low: number, high: number] | undefined;
  /** Begin at a random place within the radius, drawn by this; default: at x itself. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Projected gradient ascent: inputs within `radius` of x (largest change of an element) at which the loss is high. Each step goes
 * `stepSize` along the sign of the gradient and back into the radius and the range.
 *
 * @param loss of inputs shaped like x: one element. Synchronous.
 * @param x float32, within the range. Not changed.
 * @returns inputs of x's shape; the caller disposes it.
 * @throws ArgumentError (zero radius: nothing could change), DTypeError, DisposedError; NumericalError `NON_FINITE` for a gradient
 *   with NaN or Inf; `ABORTED`; what `loss` throws.
 * Cost: a gradient a step.
 * Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.
 */
export async function pgd(
  loss: (x: Tensor) => Tensor,
  x: Tensor,
  options: AttackOptions = {},
): Promise<Tensor<"float32">> {
  return attack("pgd", loss, x, options);
}

/** The fast gradient sign method: `pgd` in one step. */
export async function fgsm(
  loss: (x: Tensor) => Tensor,
  x: Tensor,
  options: Omit<AttackOptions, "steps" | "stepSize"> = {},
): Promise<Tensor<"float32">> {
  return attack("fgsm", loss, x, { ...options, steps: 1 });
}

async function attack(
  fn: string,
  loss: (x: Tensor) => Tensor,
  x: Tensor,
  options: AttackOptions,
): Promise<Tensor<"float32">> {
  const { radius = 0.03, steps = 10, range = [0, 1], seed, signal } = options;
  checkNumber(fn, "radius", radius, "> 0", (value) => value > 0);
  checkInteger(fn, "steps", steps, 1, 1e6);
  const { stepSize = steps === 1 ? radius : (2.3 * radius) / steps } = options;
  checkNumber(fn, "stepSize", stepSize, "> 0", (value) => value > 0);
  const [low, high] = range;
  if (!(low < high))
    throw new ArgumentError(expected(fn, "[low, high], low < high,", "range", range));
  checkTensor(fn, "x", x, ["float32"], x.shape);
  await checkRange(fn, x, [low, high]);
  using bounds = ballOf(fn, x, radius, [low, high]);
  const now = x.contiguous() as Tensor<"float32">;
  try {
    if (seed !== undefined) {
      using noise = randomUniform(x.shape, { low: -radius, high: radius, seed, device: x.device });
      axpby(1, noise, 1, now);
      bounds.project(now);
    }
    for (let step = 0; step < steps; ++step) {
      if (signal?.aborted) throw abortError(fn, signal);
      const { value, gradients } = valueAndGrad(() => loss(now), [now]);
      value.dispose();
      using gradient = item(gradients, 0);
      await checkGradient(fn, gradient, step);
      using direction = signOf(fn, gradient);
      axpby(stepSize, direction, 1, now);
      bounds.project(now);
    }
    return now;
  } catch (error) {
    now.dispose();
    throw error;
  }
}

async function checkRange(
  fn: string,
  x: Tensor,
  [low, high]: readonly [number, number],
): Promise<void> {
  if (x.size === 0) return;
  const axes = x.shape.map((_, axis) => axis);
  using largest = reduce(fn, "max", x, axes);
  using negative = unary(fn, "affine", x, { alpha: -1, beta: 0 });
  using smallest = reduce(fn, "max", negative, axes, -1);
  const [[most], [least]] = await Promise.all([largest.data(), smallest.data()]);
  // Written so that NaN fails.
  if (!(Number(least) >= Math.fround(low) && Number(most) <= Math.fround(high))) {
    const seen = `${Number(least)} to ${Number(most)}`;
    throw new ArgumentError(expected(fn, `values from ${low} to ${high}`, "x", seen));
  }
}

/** What lies within the radius of x and within the range. */
function ballOf(fn: string, x: Tensor, radius: number, [low, high]: readonly [number, number]) {
  using below = unary(fn, "affine", x, { alpha: 1, beta: -radius });
  using above = unary(fn, "affine", x, { alpha: 1, beta: radius });
  const least = unary(fn, "clamp", below, { alpha: low, beta: high });
  const most = unary(fn, "clamp", above, { alpha: low, beta: high });
  return {
    project: (y: Tensor): void => {
      using raised = binary(fn, "maximum", y, least);
      using inside = binary(fn, "minimum", raised, most);
      copyInto(fn, inside, y);
    },
    [Symbol.dispose]: (): void => {
      least.dispose();
      most.dispose();
    },
  };
}

/** 1, 0 or -1. */
function signOf(fn: string, x: Tensor): Tensor<"float32"> {
  using zero = Tensor.zeros([1], { device: x.device });
  using up = compare(fn, "greater", x, zero);
  using down = compare(fn, "less", x, zero);
  using plus = up.toDType("float32");
  using minus = down.toDType("float32");
  return binary(fn, "subtract", plus, minus) as Tensor<"float32">;
}

async function checkGradient(fn: string, gradient: Tensor, step: number): Promise<void> {
  const { count, index } = await findNonFinite(gradient);
  if (count === 0) return;
  throw new NumericalError(
    "NON_FINITE",
    `${fn}: expected finite gradients by the inputs but found ${count} NaN or Inf in step ${step}`,
    { details: { count, index, step } },
  );
}
