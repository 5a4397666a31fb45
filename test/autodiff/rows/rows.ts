import * as ad from "../../../lib/autodiff/index.js";
import { Tensor } from "../../../lib/tensor/index.js";
import { ctcOfPaths } from "../../helpers/ctc-oracle.js";
import { at, indices, plain, zip, type Plain } from "../../helpers/plain.js";
import type { Row } from "./row.js";

const total = (values: number[]) => values.reduce((a, b) => a + b, 0);

/** A function of the last dimension that keeps its length. */
function rowwise(f: (values: number[], index: number[]) => number[], x: Plain): Plain {
  return plain(x.shape, (index) => {
    const n = x.shape.at(-1)!;
    const row = Array.from({ length: n }, (_, j) => at(x, [...index.slice(0, -1), j]));
    return f(row, index)[index.at(-1)!]!;
  });
}

export const softmaxOf = (values: number[]): number[] => {
  const e = values.map((v) => Math.exp(v - Math.max(...values)));
  return e.map((v) => v / total(e));
};

const turn = (x: Plain): Plain =>
  plain([...x.shape].reverse(), (index) => at(x, [...index].reverse()));

const classes = [2, 0, 3, 3, 1, -1];
/** Where a tensor is, for the integers that go with it. */
const integers = ({ device }: Tensor, values: number[], shape: number[]) =>
  Tensor.from(Int32Array.from(values), shape, { device });

const targets = (x: Tensor, shape: number[]) =>
  integers(
    x,
    classes.slice(
      0,
      shape.reduce((a, b) => a * b, 1),
    ),
    shape,
  );
const losses = (x: Plain): number[] =>
  indices(x.shape.slice(0, -1)).map((index, row) => {
    const values = Array.from({ length: x.shape.at(-1)! }, (_, j) => at(x, [...index, j]));
    return classes[row]! < 0 ? 0 : -Math.log(softmaxOf(values)[classes[row]!]!);
  });
const scalar = (value: number): Plain => ({ shape: [], values: Float64Array.of(value) });

function normalized(values: number[], eps: number, centred: boolean): number[] {
  const mean = centred ? total(values) / values.length : 0;
  const variance = total(values.map((v) => (v - mean) ** 2)) / values.length;
  return values.map((v) => (v - mean) / Math.sqrt(variance + eps));
}

/** Attention by loops over queries and keys. */
function attention(q: Plain, k: Plain, v: Plain, causal: boolean): Plain {
  const [t, s, width] = [q.shape.at(-2)!, k.shape.at(-2)!, q.shape.at(-1)!];
  return plain([...q.shape.slice(0, -1), v.shape.at(-1)!], (index) => {
    const head = index.slice(0, -2);
    const [i, o] = index.slice(-2);
    const scores = Array.from({ length: s }, (_, j) =>
      causal && j > i! + s - t
        ? -Infinity
        : total(
            Array.from(
              { length: width },
              (_, c) => at(q, [...head, i!, c]) * at(k, [...head, j, c]),
            ),
          ) / Math.sqrt(width),
    );
    return total(softmaxOf(scores).map((p, j) => p * at(v, [...head, j, o!])));
  });
}

/** Channels of [batch, channels, ...] as rows. */
function channelwise(f: (values: number[]) => number[], x: Plain): Plain {
  const parts = indices(x.shape).map((index) => index);
  return plain(x.shape, (index) => {
    const mine = parts.filter((other) => other[1] === index[1]);
    const place = mine.findIndex((other) => other.every((n, d) => n === index[d]));
    return f(mine.map((other) => at(x, other)))[place]!;
  });
}

const channel = (v: Plain): Plain => ({ shape: [v.shape[0]!, 1], values: v.values });

export const softmaxes: Row[] = [
  {
    name: "softmax",
    shapes: [[2, 3, 5]],
    domain: (u) => 3 * u,
    run: (x) => [ad.softmax(x), ad.softmax(x, { axis: 0 })],
    plain: (x) => [
      rowwise(softmaxOf, x),
      plain(x.shape, ([i, j, k]) => softmaxOf([0, 1].map((d) => at(x, [d, j!, k!])))[i!]!),
    ],
  },
  {
    name: "softmax of large numbers",
    shapes: [[3, 4]],
    run: (x) => ad.softmax(ad.affine(x, 4, 1000)),
    plain: (x) => rowwise((v) => softmaxOf(v.map((u) => 4 * u)), x),
    ulps: 20_000, // the argument itself is rounded at 1000
  },
  {
    name: "logSoftmax",
    shapes: [[3, 5]],
    domain: (u) => 3 * u,
    run: (x) => [ad.logSoftmax(x), ad.logSoftmax(x, { axis: 0 })],
    plain: (x) => [
      rowwise((v) => softmaxOf(v).map(Math.log), x),
      turn(rowwise((v) => softmaxOf(v).map(Math.log), turn(x))),
    ],
  },
  {
    name: "crossEntropy, mean and sum",
    shapes: [[5, 4]],
    domain: (u) => 3 * u,
    run: (x) => [
      ad.crossEntropy(x, targets(x, [5])),
      ad.crossEntropy(x, targets(x, [5]), { reduction: "sum" }),
    ],
    plain: (x) => [scalar(total(losses(x)) / 5), scalar(total(losses(x)))],
  },
  {
    name: "crossEntropy of every row",
    shapes: [[2, 2, 4]],
    run: (x) => ad.crossEntropy(x, targets(x, [2, 2]), { reduction: "none" }),
    plain: (x) => ({ shape: [2, 2], values: Float64Array.from(losses(x)) }),
  },
  {
    name: "crossEntropy, a row ignored",
    shapes: [[6, 4]],
    run: (x) => [
      ad.crossEntropy(x, targets(x, [6]), { ignoreIndex: -1 }),
      ad.crossEntropy(x, targets(x, [6]), { ignoreIndex: -1, reduction: "none" }),
    ],
    plain: (x) => [
      scalar(total(losses(x)) / 5),
      { shape: [6], values: Float64Array.from(losses(x)) },
    ],
  },
  {
    name: "crossEntropy, a class ignored",
    shapes: [[5, 4]],
    run: (x) => ad.crossEntropy(x, targets(x, [5]), { ignoreIndex: 3 }),
    plain: (x) => {
      const l = losses(x);
      return scalar((l[0]! + l[1]! + l[4]!) / 3);
    },
  },
];

const ctcTargets = (x: Tensor) => ({
  targets: integers(x, [1, 1, 3, 2, 0, 0], [2, 3]),
  inputLengths: integers(x, [6, 4], [2]),
  targetLengths: integers(x, [3, 1], [2]),
});

/** By the definition: the sum over every path that becomes the target. */
function ctcByPaths(x: Plain): number[] {
  return [
    ctcOfPaths((t, c) => at(x, [0, t, c]), 6, 4, [1, 1, 3], 0),
    ctcOfPaths((t, c) => at(x, [1, t, c]), 4, 4, [2], 0),
  ];
}

export const sequences: Row[] = [
  {
    name: "ctcLoss",
    shapes: [[2, 6, 4]],
    domain: (u) => 2 * u,
    run: (x) => {
      const { targets, ...lengths } = ctcTargets(x);
      return (["mean", "sum", "none"] as const).map((reduction) =>
        ad.ctcLoss(x, targets, { ...lengths, reduction }),
      );
    },
    plain: (x) => {
      const l = ctcByPaths(x);
      return [
        scalar((l[0]! / 3 + l[1]!) / 2),
        scalar(total(l)),
        { shape: [2], values: Float64Array.from(l) },
      ];
    },
  },
  {
    name: "ctcLoss of logSoftmax, the blank last",
    shapes: [[1, 4, 3]],
    run: (x) =>
      ad.ctcLoss(ad.logSoftmax(x), integers(x, [1, 0], [1, 2]), {
        inputLengths: integers(x, [4], [1]),
        targetLengths: integers(x, [2], [1]),
        blank: 2,
        reduction: "sum",
      }),
    plain: (x) => {
      const sums = [0, 1, 2, 3].map((t) =>
        Math.log([0, 1, 2].reduce((s, c) => s + Math.exp(at(x, [0, t, c])), 0)),
      );
      return scalar(ctcOfPaths((t, c) => at(x, [0, t, c]) - sums[t]!, 4, 3, [1, 0], 2));
    },
  },
];

export const norms: Row[] = [
  {
    name: "layerNorm",
    shapes: [[2, 3, 5], [5], [5]],
    run: (x, weight, bias) => ad.layerNorm(x, { weight, bias }),
    plain: (x, w, b) =>
      zip(
        (y, v, c) => y * v + c,
        rowwise((v) => normalized(v, 1e-5, true), x),
        w,
        b,
      ),
  },
  {
    name: "layerNorm over two dimensions, nothing else",
    shapes: [
      [4, 2, 3],
      [2, 3],
    ],
    run: (x, weight) => ad.layerNorm(x, { weight, eps: 0.1 }),
    plain: (x, w) => {
      const flat: Plain = { shape: [4, 6], values: x.values };
      const y = rowwise((v) => normalized(v, 0.1, true), flat);
      return zip((a, b) => a * b, { shape: [4, 2, 3], values: y.values }, w);
    },
  },
  {
    name: "rmsNorm",
    shapes: [[3, 5], [5]],
    run: (x, weight) => [ad.rmsNorm(x, { weight }), ad.rmsNorm(x, { eps: 0.3 })],
    plain: (x, w) => [
      zip(
        (y, v) => y * v,
        rowwise((v) => normalized(v, 1e-6, false), x),
        w,
      ),
      rowwise((v) => normalized(v, 0.3, false), x),
    ],
  },
  {
    name: "batchNorm, its statistics differentiated",
    shapes: [[4, 3, 2, 2], [3], [3]],
    run: (x, weight, bias) => ad.batchNorm(x, { weight, bias }).y,
    plain: (x, w, b) =>
      zip(
        (y, v, c) => y * v + c,
        channelwise((v) => normalized(v, 1e-5, true), x),
        plain([3, 1, 1], ([i]) => at(w, [i!])),
        plain([3, 1, 1], ([i]) => at(b, [i!])),
      ),
  },
  {
    name: "batchNorm of vectors",
    shapes: [[5, 3]],
    run: (x) => ad.batchNorm(x, { eps: 0.01 }).y,
    plain: (x) => channelwise((v) => normalized(v, 0.01, true), x),
  },
  {
    name: "batchNormWith given statistics",
    shapes: [[4, 3, 2], [3], [3], [3]],
    domain: (u) => 1.5 + u,
    run: (x, mean, variance, weight) => ad.batchNormWith(x, { mean, variance }, { weight }),
    plain: (x, m, v, w) =>
      zip(
        (y, a, b, c) => (c * (y - a)) / Math.sqrt(b + 1e-5),
        x,
        channel(m),
        channel(v),
        channel(w),
      ),
  },
];

export const indexing: Row[] = [
  {
    name: "gather along each axis",
    shapes: [[3, 4, 2]],
    run: (x) => [
      ad.gather(ad.square(x), integers(x, [2, 0, 0, 2], [2, 2])),
      ad.gather(x, integers(x, [3, 3, 1], [3]), 1),
      ad.gather(x, integers(x, [1], [1]), -1),
    ],
    plain: (x) => [
      plain([2, 2, 4, 2], ([a, b, j, k]) => at(x, [[2, 0, 0, 2][a! * 2 + b!]!, j!, k!]) ** 2),
      plain([3, 3, 2], ([i, a, k]) => at(x, [i!, [3, 3, 1][a!]!, k!])),
      plain([3, 4, 1], ([i, j]) => at(x, [i!, j!, 1])),
    ],
  },
  {
    name: "scatterAdd",
    shapes: [[2, 5, 3]],
    run: (x) => ad.scatterAdd(x, integers(x, [1, 3, 1, 1, 0], [5]), [2, 4, 3], 1),
    plain: (x) =>
      plain([2, 4, 3], ([i, n, k]) =>
        total([1, 3, 1, 1, 0].map((place, j) => (place === n ? at(x, [i!, j, k!]) : 0))),
      ),
  },
  {
    name: "takeAlong",
    shapes: [[3, 4]],
    run: (x) => ad.takeAlong(ad.exp(x), integers(x, [0, 0, 3, 2, 1, 1], [3, 2])),
    plain: (x) =>
      plain([3, 2], ([i, j]) => Math.exp(at(x, [i!, [0, 0, 3, 2, 1, 1][i! * 2 + j!]!]))),
  },
  {
    name: "embedding",
    shapes: [[5, 3]],
    run: (table) => ad.sin(ad.embedding(table, integers(table, [4, 0, 0, 2, 4, 4], [2, 3]))),
    plain: (table) =>
      plain([2, 3, 3], ([i, j, k]) => Math.sin(at(table, [[4, 0, 0, 2, 4, 4][i! * 3 + j!]!, k!]))),
  },
];

const heads = [
  [2, 3, 4, 2],
  [2, 3, 5, 2],
  [2, 3, 5, 3],
];
export const attentions: Row[] = [
  {
    name: "scaledDotProductAttention",
    shapes: heads,
    run: (q, k, v) => ad.scaledDotProductAttention(q, k, v),
    plain: (q, k, v) => attention(q, k, v, false),
  },
  {
    name: "scaledDotProductAttention, causal",
    shapes: heads,
    run: (q, k, v) => ad.scaledDotProductAttention(q, k, v, { causal: true }),
    plain: (q, k, v) => attention(q, k, v, true),
  },
];
