import { ArgumentError } from "../../errors.js";
import { ctcLossCurvature, ctcLossRows, type CtcTargets } from "../../ops/ctc-loss.js";
import type { Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { numberLike } from "../tensors.js";
import { div, maximum, mul, plus } from "./arithmetic.js";
import { checkReduction, type Reduction } from "./losses.js";
import { mean, sum } from "./reductions.js";
import { alias } from "./views.js";

interface Sequences extends CtcTargets {
  /** The derivative of the losses by the log-probabilities, known from the loss. */
  readonly slope: Tensor;
}

const column = (w: Tensor) => (w.isContiguous ? w : w.contiguous()).reshape([...w.shape, 1, 1]);

// A sequence's loss depends on its own rows alone, so that a weight a sequence scales its slope and its Hessian.
const losses = differentiable<[Tensor], Sequences>("ctcLoss", {
  vjp: ({ inputs: [x], attributes }, g) => [mul(slopeOf(x, attributes), column(g))],
  jvp: ({ inputs: [x], attributes }, [t]) => t && sum(mul(slopeOf(x, attributes), t), [1, 2]),
});

/** The slope as a function of x, so that it can be differentiated again. */
const slopeOf = (x: Tensor, sequences: Sequences) => sloped([x], alias(sequences.slope), sequences);

const sloped = differentiable<[Tensor], Sequences>("derivative of ctcLoss", {
  vjp: ({ inputs: [x], attributes }, g) => [curvature(x, g, attributes)],
  jvp: ({ inputs: [x], attributes }, [t]) => t && curvature(x, t, attributes),
});

function curvature(x: Tensor, v: Tensor, sequences: Sequences): Tensor {
  return curved([x, v], ctcLossCurvature("ctcLoss", x, v, sequences), sequences);
}

const curved = differentiable<[Tensor, Tensor], Sequences>("second derivative of ctcLoss", {
  vjp: ({ inputs: [x], attributes }, g, [needX, needV]) => [
    needX ? noThird() : undefined,
    needV ? curvature(x, g, attributes) : undefined,
  ],
  jvp: ({ inputs: [x], attributes }, [tx, tv]) =>
    plus(tx && noThird(), tv && curvature(x, tv, attributes)),
});

function noThird(): never {
  throw new ArgumentError(
    "ctcLoss: expected derivatives of first and second order but received one of third order",
  );
}

export interface CtcLossOptions {
  /** int32 `[sequences]`: the steps of each sequence that count. */
  readonly inputLengths: Tensor;
  /** int32 `[sequences]`: the labels of each row of the targets that count. */
  readonly targetLengths: Tensor;
  /** The class that stands for no label; default 0. */
  readonly blank?: number | undefined;
  /** "mean" (the default) divides each loss by the number of its labels (at least 1) first. */
  readonly reduction?: Reduction | undefined;
}

/**
 * Connectionist temporal classification (Graves et al. 2006): minus the logarithm of the probability that a path of classes,
 * one a step, becomes the target when repeats are merged and blanks taken out.
 *
 * With first and second derivatives; a third one is an error. Sums over paths are kept in float64.
 *
 * @param logProbs `[sequences, steps, classes]`, as from `logSoftmax`; they need not sum to one.
 * @param targets int32 `[sequences, labels]`, labels from 0 without the blank; what is after a row's length is not looked at.
 * @returns one element, or `[sequences]` for reduction "none". Infinite where the target has probability 0; its derivative is
 *   then NaN.
 * @throws ArgumentError when the loss is read: a length out of range, a label that is the blank or no class, fewer steps than
 *   the target needs.
 */
export function ctcLoss(logProbs: Tensor, targets: Tensor, options: CtcLossOptions): Tensor {
  const fn = "ctcLoss";
  const { inputLengths, targetLengths, blank = 0, reduction = "mean" } = options;
  checkReduction(fn, reduction);
  const sequences = { target: targets, inputLengths, targetLengths, blank };
  const { loss, slope } = ctcLossRows(fn, logProbs, sequences);
  const rows = losses([logProbs], loss, { ...sequences, slope });
  if (reduction === "none") return rows;
  if (reduction === "sum") return sum(rows);
  return mean(div(rows, maximum(targetLengths.toDType(logProbs.dtype), numberLike(1, logProbs))));
}
