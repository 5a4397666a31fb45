import {
  add,
  crossEntropy,
  logSoftmax,
  mean,
  mul,
  scale,
  softmax,
  sub,
  sum,
} from "../autodiff/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { checkNumber } from "../ops/check.js";
import { sameShape, scope, type Tensor } from "../tensor/index.js";

export interface DistillationOptions {
  /** Share of the teacher in the loss, 0 to 1; the rest is cross-entropy with the targets. Default 1. */
  readonly hardness?: number | undefined;
  /** Logits are divided by it before the softmax, > 0. Default 2. */
  readonly temperature?: number | undefined;
  /** int32 `[...]`, classes; needed unless hardness is 1. */
  readonly targets?: Tensor | undefined;
}

/**
 * The loss of a student that learns from a teacher's logits: `h T^2 KL(softmax(teacher / T) | softmax(student / T)) + (1 - h) CE`,
 * means over rows. With T^2 the gradient has one size for every temperature.
 *
 * @param student `[..., classes]`, differentiable.
 * @param teacher of its shape and dtype, constant: computed beforehand, by the dense model in evaluation mode.
 * @returns one element.
 * @throws ShapeError, DTypeError, ArgumentError
 * Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
 */
export function distillationLoss(
  student: Tensor,
  teacher: Tensor,
  options: DistillationOptions = {},
): Tensor {
  const fn = "distillationLoss";
  const { hardness = 1, temperature = 2, targets } = options;
  checkNumber(fn, "hardness", hardness, "from 0 to 1", (h) => h >= 0 && h <= 1);
  checkNumber(fn, "temperature", temperature, "> 0", (t) => t > 0);
  if (!sameShape(student.shape, teacher.shape))
    throw new ShapeError(
      expected(fn, `shape [${student.shape.join(", ")}]`, "teacher", teacher.shape),
    );
  if (hardness < 1 && targets === undefined)
    throw new ArgumentError(expected(fn, "classes, since hardness is below 1", "targets", targets));
  return scope(() => {
    const hard =
      targets === undefined || hardness === 1 ? undefined : crossEntropy(student, targets);
    const soft = scale(divergence(teacher, student, 1 / temperature), hardness * temperature ** 2);
    return hard === undefined ? soft : add(soft, scale(hard, 1 - hardness));
  });
}

/** Mean over rows of KL(softmax(a p) | softmax(a q)). */
function divergence(p: Tensor, q: Tensor, a: number): Tensor {
  const [x, y] = [scale(p, a), scale(q, a)];
  return mean(sum(mul(softmax(x), sub(logSoftmax(x), logSoftmax(y))), -1));
}
