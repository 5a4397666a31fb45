import { ArgumentError, expected } from "../../errors.js";
import { softmax as softmaxValues, softmaxBackward, type SoftmaxKind } from "../../ops/softmax.js";
import type { Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { mul, plus, sub } from "./arithmetic.js";
import { exp, neg, scale as times } from "./elementary.js";
import { sum } from "./reductions.js";

// The Jacobian of softmax at its result y is diag(y) - y y^T: symmetric, so one operation `curve` is both rules.
const softmaxed = differentiable<[Tensor], SoftmaxKind>("softmax", {
  vjp: ({ output: y, attributes: { scale } }, g) => [curve(y, g, scale)],
  jvp: ({ output: y, attributes: { scale } }, [t]) => t && curve(y, t, scale),
});

function curve(y: Tensor, v: Tensor, scale: number): Tensor {
  return curved([y, v], softmaxBackward("softmax", y, v, scale, false), scale);
}

const rowSum = (x: Tensor) => sum(x, -1, { keepDims: true });

// scale y (v - sum(v y))
const curved = differentiable<[Tensor, Tensor], number>("derivative of softmax", {
  vjp: ({ inputs: [y, v], attributes: scale }, g, [needY, needV]) => [
    needY ? bent(y, v, g, scale) : undefined,
    needV ? curve(y, g, scale) : undefined,
  ],
  jvp: ({ inputs: [y, v], attributes: scale }, [ty, tv]) => {
    if (ty === undefined) return tv && curve(y, tv, scale);
    const moved = sub(mul(ty, sub(v, rowSum(mul(v, y)))), mul(y, rowSum(mul(v, ty))));
    return plus(times(moved, scale), tv && curve(y, tv, scale));
  },
});

/** The gradient of `<g, scale y (v - sum(v y))>` by y. */
function bent(y: Tensor, v: Tensor, g: Tensor, scale: number): Tensor {
  const both = sub(mul(g, v), mul(g, rowSum(mul(v, y))));
  return times(sub(both, mul(v, rowSum(mul(g, y)))), scale);
}

const logSoftmaxed = differentiable<[Tensor], SoftmaxKind>("logSoftmax", {
  vjp: ({ output: y }, g) => [logCurve(y, g)],
  jvp: ({ output: y }, [t]) => t && sub(t, rowSum(mul(exp(y), t))),
});

function logCurve(y: Tensor, g: Tensor): Tensor {
  return logCurved([y, g], softmaxBackward("logSoftmax", y, g, 1, true), undefined);
}

// v - e^y sum(v)
const logCurved = differentiable<[Tensor, Tensor], undefined>("derivative of logSoftmax", {
  vjp: ({ inputs: [y, v] }, g, [needY, needV]) => [
    needY ? neg(mul(mul(g, exp(y)), rowSum(v))) : undefined,
    needV ? sub(g, rowSum(mul(g, exp(y)))) : undefined,
  ],
  jvp: ({ inputs: [y, v] }, [ty, tv]) =>
    plus(ty && neg(mul(mul(ty, exp(y)), rowSum(v))), tv && logCurve(y, tv)),
});

export interface SoftmaxOptions {
  /** Which dimension; default the last one. */
  readonly axis?: number | undefined;
}

function overAxis(fn: string, x: Tensor, axis: number, run: (x: Tensor) => Tensor): Tensor {
  const at = axis < 0 ? axis + x.rank : axis;
  if (!Number.isInteger(at) || at < 0 || at >= x.rank)
    throw new ArgumentError(expected(fn, `an axis of a tensor of rank ${x.rank}`, "axis", axis));
  return at === x.rank - 1 ? run(x) : run(x.transpose(at, -1)).transpose(at, -1);
}

/** `e^x / sum(e^x)` along an axis, without overflow. A slice of -Inf alone is NaN. */
export function softmax(x: Tensor, options: SoftmaxOptions = {}): Tensor {
  const fn = "softmax";
  const kind = { scale: 1, log: false, causal: false };
  return overAxis(fn, x, options.axis ?? -1, (rows) =>
    softmaxed([rows], softmaxValues(fn, rows, kind), kind),
  );
}

/** The logarithm of `softmax`, computed as such. */
export function logSoftmax(x: Tensor, options: SoftmaxOptions = {}): Tensor {
  const fn = "logSoftmax";
  const kind = { scale: 1, log: true, causal: false };
  return overAxis(fn, x, options.axis ?? -1, (rows) =>
    logSoftmaxed([rows], softmaxValues(fn, rows, kind), kind),
  );
}

/** @internal The Jacobian of softmax at its result y, times v. */
export function softmaxCurve(y: Tensor, v: Tensor): Tensor {
  return curve(y, v, 1);
}

/** @internal Softmax of `scale x` over keys, each query seeing its own place and what is before it when causal. */
export function attentionWeights(fn: string, x: Tensor, scale: number, causal: boolean): Tensor {
  const kind = { scale, log: false, causal };
  return softmaxed([x], softmaxValues(fn, x, kind), kind);
}
