import { ArgumentError, expected } from "../../errors.js";
import { crossEntropyBackward, crossEntropyRows, type Targets } from "../../ops/cross-entropy.js";
import type { Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { numberLike } from "../tensors.js";
import { div, mul, notEqual, plus } from "./arithmetic.js";
import { mean, sum } from "./reductions.js";
import { softmax, softmaxCurve } from "./softmax.js";

/** How the losses of rows become one: their mean (of those not ignored), their sum, or not at all. */
export type Reduction = "mean" | "sum" | "none";

interface Rows extends Targets {
  /** The log-sum-exp of each row, known from the loss. */
  readonly logSum: Tensor;
  /** 1 for each row, 0 for those that are ignored. */
  readonly counted: Tensor;
}

// loss_r = logsumexp(x_r) - x_r,target
const rowLosses = differentiable<[Tensor], Rows>("crossEntropy", {
  vjp: ({ inputs: [x], attributes }, g) => [slope(x, g, attributes)],
  jvp: ({ inputs: [x], attributes }, [t]) =>
    t && sum(mul(slope(x, attributes.counted, attributes), t), -1),
});

/** `w (softmax(x) - onehot)`, row by row. */
function slope(x: Tensor, w: Tensor, rows: Rows): Tensor {
  return sloped([x, w], crossEntropyBackward("crossEntropy", x, rows.logSum, w, rows), rows);
}

const sloped = differentiable<[Tensor, Tensor], Rows>("derivative of crossEntropy", {
  vjp: ({ inputs: [x, w], attributes }, g, [needX, needW]) => [
    needX ? curvature(x, mul(g, column(mul(w, attributes.counted)))) : undefined,
    needW ? sum(mul(g, slope(x, attributes.counted, attributes)), -1) : undefined,
  ],
  jvp: ({ inputs: [x, w], attributes }, [tx, tw]) =>
    plus(
      tx && curvature(x, mul(tx, column(mul(w, attributes.counted)))),
      tw && slope(x, tw, attributes),
    ),
});

const curvature = (x: Tensor, v: Tensor) => softmaxCurve(softmax(x), v);

/** A vector of rows as a column that broadcasts over classes. */
const column = (w: Tensor) => (w.isContiguous ? w : w.contiguous()).reshape([...w.shape, 1]);

export interface CrossEntropyOptions {
  /** Default "mean". */
  readonly reduction?: Reduction | undefined;
  /** Rows with this target do not count. Default: every row counts. */
  readonly ignoreIndex?: number | undefined;
}

/** @internal */
export function checkReduction(fn: string, reduction: Reduction): void {
  if (!["mean", "sum", "none"].includes(reduction))
    throw new ArgumentError(expected(fn, '"mean", "sum" or "none"', "reduction", reduction));
}

/**
 * The cross-entropy of softmax(logits) with classes, in nats.
 *
 * @param logits `[..., classes]`.
 * @param targets int32 `[...]`, classes from 0; another number is an ArgumentError when the loss is read.
 * @returns one element, or `[...]` for reduction "none". The mean of no rows is NaN.
 */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const fn = "crossEntropy";
  const { reduction = "mean", ignoreIndex } = options;
  checkReduction(fn, reduction);
  const { loss, logSum } = crossEntropyRows(fn, logits, { target: targets, ignoreIndex });
  const one = numberLike(1, logits);
  const counted =
    ignoreIndex === undefined
      ? one.expand(targets.shape)
      : notEqual(targets.toDType("float64"), ignoreIndex).toDType(logits.dtype);
  const rows = rowLosses([logits], loss, { target: targets, ignoreIndex, logSum, counted });
  if (reduction === "none") return rows;
  if (reduction === "sum") return sum(rows);
  return ignoreIndex === undefined ? mean(rows) : div(sum(rows), sum(counted));
}
