import { ShapeError, expected } from "../../errors.js";
import { checkReal } from "../../ops/broadcast.js";
import { elementsOf } from "../../ops/packed.js";
import { normalize as normalizeValues, normalizeBackward } from "../../ops/normalize.js";
import { sameShape, type Tensor } from "../../tensor/index.js";
import { record, type Maybe, type Op } from "../context.js";
import { differentiable } from "../define.js";
import { add, mul, plus, sub } from "./arithmetic.js";
import { neg, power, reciprocal } from "./elementary.js";
import { mean, sum } from "./reductions.js";
import { reshape } from "./views.js";

// Rows r of x [outer, r, inner] are brought to mean 0 (when centred) and mean square 1:
//   y = (x - mean) s, s = 1 / sqrt(var + eps), both results of one operation.
// The Jacobian of y is s (I - 1 1^T / n - y y^T / n) in each row: symmetric, so `curve` is both of its rules.
// ds = -s^2 mean(y dx).

interface Kind {
  readonly centred: boolean;
}

const normalizeOp: Op<Kind> = {
  name: "normalize",
  vjp({ outputs, attributes }, [gy, gs]) {
    const [y, s] = outputs as [Tensor, Tensor];
    return [plus(gy && curve(y, s, gy, attributes), gs && mul(byDeviation(y, s), row(gs)))];
  },
  jvp({ outputs, attributes }, [t]) {
    const [y, s] = outputs as [Tensor, Tensor];
    if (t === undefined) return [];
    return [curve(y, s, t, attributes), sum(mul(byDeviation(y, s), t), [0, 2])];
  },
};

/** The derivative of s by x: `-s^2 y / n`. */
function byDeviation(y: Tensor, s: Tensor): Tensor {
  const n = elementsOf(y.shape) / (y.shape[1] ?? 1);
  return mul(mul(y, row(mul(s, s))), -1 / n);
}

/** A vector of rows, against [outer, rows, inner]. */
function row(v: Tensor): Tensor {
  return reshape(v, [v.size, 1]);
}

const rowMean = (x: Tensor) => mean(x, [0, 2], { keepDims: true });

function curve(y: Tensor, s: Tensor, v: Tensor, kind: Kind): Tensor {
  return curved([y, s, v], normalizeBackward("normalize", y, s, v, kind.centred), kind);
}

// s (v - mean(v) - y mean(v y))
const curved = differentiable<[Tensor, Tensor, Tensor], Kind>("derivative of normalize", {
  vjp({ inputs: [y, s, v], output, attributes }, g, [needY, needS, needV]) {
    return [
      needY ? byResult(y, s, v, g) : undefined,
      needS ? mul(sum(mul(g, output), [0, 2]), reciprocal(s)) : undefined,
      needV ? curve(y, s, g, attributes) : undefined,
    ];
  },
  jvp({ inputs: [y, s, v], output, attributes }, [ty, ts, tv]): Maybe {
    const moved =
      ty && neg(mul(row(s), add(mul(ty, rowMean(mul(v, y))), mul(y, rowMean(mul(v, ty))))));
    const scaled = ts && mul(output, row(mul(ts, reciprocal(s))));
    return plus(plus(moved, scaled), tv && curve(y, s, tv, attributes));
  },
});

/** The gradient of `<g, s (v - mean(v) - y mean(v y))>` by y. */
function byResult(y: Tensor, s: Tensor, v: Tensor, g: Tensor): Tensor {
  return neg(mul(row(s), add(mul(g, rowMean(mul(v, y))), mul(v, rowMean(mul(g, y))))));
}

/** @internal y, and the mean of each row: a value only, for running averages. */
export function normalizeRows(
  fn: string,
  x: Tensor,
  eps: number,
  centred: boolean,
): { y: Tensor; mean: Tensor; inverseDeviation: Tensor } {
  const { y, mean: centre, inverseDeviation } = normalizeValues(fn, x, eps, centred);
  record(normalizeOp, [x], [y, inverseDeviation], { centred });
  return { y, mean: centre, inverseDeviation };
}

export interface NormOptions {
  /** Factor of each element of the normalized shape. */
  readonly weight?: Tensor | undefined;
  /** Added after the factor. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance (layer norm: 1e-5) or mean square (RMS norm: 1e-6). */
  readonly eps?: number | undefined;
}

function overLast(
  fn: string,
  x: Tensor,
  dims: number,
  centred: boolean,
  options: NormOptions,
  eps: number,
): Tensor {
  checkReal(fn, "x", x);
  const shape = x.shape.slice(x.rank - dims);
  if (x.rank < dims || dims < 1)
    throw new ShapeError(expected(fn, `${dims} or more dimensions`, "x", x.shape));
  const { weight, bias } = options;
  for (const [name, tensor] of Object.entries({ weight, bias })) {
    if (tensor !== undefined && !sameShape(tensor.shape, shape))
      throw new ShapeError(
        expected(
          fn,
          `shape [${shape.join(", ")}], as x [${x.shape.join(", ")}] ends`,
          name,
          tensor.shape,
        ),
      );
  }
  const rows = reshape(x, [1, elementsOf(x.shape.slice(0, x.rank - dims)), elementsOf(shape)]);
  const { y } = normalizeRows(fn, rows, options.eps ?? eps, centred);
  const shaped = reshape(y, x.shape);
  const scaled = weight === undefined ? shaped : mul(shaped, weight);
  return bias === undefined ? scaled : add(scaled, bias);
}

/**
 * `weight (x - mean) / sqrt(var + eps) + bias` over the last dimension, or as many as `weight` has.
 *
 * Ba, Kiros, Hinton, Layer normalization, 2016.
 */
export function layerNorm(x: Tensor, options: NormOptions = {}): Tensor {
  const dims = options.weight?.rank ?? options.bias?.rank ?? 1;
  return overLast("layerNorm", x, dims, true, options, 1e-5);
}

/**
 * `weight x / sqrt(mean(x^2) + eps)` over the last dimension, or as many as `weight` has.
 *
 * Zhang, Sennrich, Root mean square layer normalization, 2019.
 */
export function rmsNorm(x: Tensor, options: NormOptions = {}): Tensor {
  const dims = options.weight?.rank ?? options.bias?.rank ?? 1;
  return overLast("rmsNorm", x, dims, false, options, 1e-6);
}

export interface BatchStatistics {
  /** [channels] */
  readonly mean: Tensor;
  /** [channels], not corrected for the number of samples. */
  readonly variance: Tensor;
}

function channelsOf(fn: string, x: Tensor, options: NormOptions): [number, number, number] {
  checkReal(fn, "x", x);
  if (x.rank < 2) throw new ShapeError(expected(fn, "shape [batch, channels, ...]", "x", x.shape));
  const [batch = 0, channels = 0, ...rest] = x.shape;
  for (const [name, tensor] of Object.entries({ weight: options.weight, bias: options.bias })) {
    if (tensor !== undefined && !sameShape(tensor.shape, [channels]))
      throw new ShapeError(
        expected(
          fn,
          `shape [${channels}], the channels of x [${x.shape.join(", ")}],`,
          name,
          tensor.shape,
        ),
      );
  }
  return [batch, channels, elementsOf(rest)];
}

function affineChannels(y: Tensor, { weight, bias }: NormOptions): Tensor {
  const scaled = weight === undefined ? y : mul(y, row(weight));
  return bias === undefined ? scaled : add(scaled, row(bias));
}

/**
 * Each channel of `x [batch, channels, ...]` normalized by the mean and variance of the batch, through which derivatives
 * flow; then `weight [channels]` and `bias [channels]`.
 *
 * @returns `y`, and the statistics as values, for running averages.
 * Ioffe, Szegedy, Batch normalization, 2015.
 */
export function batchNorm(
  x: Tensor,
  options: NormOptions = {},
): { y: Tensor; statistics: BatchStatistics } {
  const fn = "batchNorm";
  const shape = channelsOf(fn, x, options);
  const eps = options.eps ?? 1e-5;
  const normalized = normalizeRows(fn, reshape(x, shape), eps, true);
  const variance = sub(
    reciprocal(mul(normalized.inverseDeviation, normalized.inverseDeviation)),
    eps,
  );
  const y = reshape(affineChannels(normalized.y, options), x.shape);
  return { y, statistics: { mean: normalized.mean, variance } };
}

/** Each channel of `x [batch, channels, ...]` normalized by given statistics, then weighted and shifted as in `batchNorm`. */
export function batchNormWith(
  x: Tensor,
  statistics: BatchStatistics,
  options: NormOptions = {},
): Tensor {
  const fn = "batchNormWith";
  const shape = channelsOf(fn, x, options);
  const { mean: centre, variance } = statistics;
  const inverse = power(add(variance, options.eps ?? 1e-5), -0.5);
  const centred = mul(sub(reshape(x, shape), row(centre)), row(inverse));
  return reshape(affineChannels(centred, options), x.shape);
}
