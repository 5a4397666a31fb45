import * as ad from "../../../lib/autodiff/index.js";
import { at, fold, plain, type Plain } from "../../helpers/plain.js";
import type { Row } from "./row.js";

const total = (values: number[]) => values.reduce((a, b) => a + b, 0);
const average = (values: number[]) => total(values) / values.length;
const kept = (x: Plain, axes: readonly number[], y: Plain): Plain => ({
  shape: x.shape.map((n, d) => (axes.includes(d) ? 1 : n)),
  values: y.values,
});

export const reductions: Row[] = [
  {
    name: "sum of all",
    shapes: [[3, 4]],
    run: (x) => ad.sum(x),
    plain: (x) => fold(total, x, [0, 1]),
  },
  {
    name: "sum over an axis from the end",
    shapes: [[3, 4, 2]],
    run: (x) => ad.sum(ad.square(x), -2),
    plain: (x) => fold((v) => total(v.map((u) => u * u)), x, [1]),
  },
  {
    name: "sum over two axes, kept",
    shapes: [[3, 4, 2]],
    run: (x) => ad.sum(x, [0, 2], { keepDims: true }),
    plain: (x) => kept(x, [0, 2], fold(total, x, [0, 2])),
  },
  {
    name: "mean",
    shapes: [[3, 4, 2]],
    run: (x) => [ad.mean(x), ad.mean(ad.exp(x), 1)],
    plain: (x) => [fold(average, x, [0, 1, 2]), fold((v) => average(v.map(Math.exp)), x, [1])],
  },
  {
    name: "variance",
    shapes: [[4, 5]],
    run: (x) => [ad.variance(x, 0), ad.variance(x, undefined, { correction: 1 })],
    plain: (x) => {
      const squares = (v: number[]) => total(v.map((u) => (u - average(v)) ** 2));
      return [fold((v) => squares(v) / 4, x, [0]), fold((v) => squares(v) / 19, x, [0, 1])];
    },
  },
  {
    name: "max and min",
    shapes: [[4, 5]],
    run: (x) => [ad.max(x), ad.max(x, 0), ad.min(ad.exp(x), 1, { keepDims: true })],
    plain: (x) => [
      fold((v) => Math.max(...v), x, [0, 1]),
      fold((v) => Math.max(...v), x, [0]),
      kept(
        x,
        [1],
        fold((v) => Math.min(...v.map(Math.exp)), x, [1]),
      ),
    ],
  },
  {
    name: "logSumExp",
    shapes: [[3, 4]],
    domain: (u) => 5 * u,
    run: (x) => [ad.logSumExp(x, 1), ad.logSumExp(ad.add(x, 800))],
    plain: (x) => {
      const f = (v: number[]) => Math.log(total(v.map(Math.exp)));
      return [
        fold(f, x, [1]),
        { shape: [], values: fold(f, x, [0, 1]).values.map((v) => v + 800) },
      ];
    },
  },
];

export const views: Row[] = [
  {
    name: "reshape, also of a view",
    shapes: [[3, 4]],
    run: (x) => [ad.reshape(x, [2, -1]), ad.reshape(x.transpose(), [12])],
    plain: (x) => [
      { shape: [2, 6], values: x.values },
      plain([12], ([i]) => at(x, [i! % 3, Math.floor(i! / 3)])),
    ],
  },
  {
    name: "methods of a tensor: transpose, permute, slice, expand, toDType, contiguous",
    shapes: [[3, 4, 2]],
    run: (x) => [
      x.permute([2, 0, 1]),
      ad.square(x.transpose(0, 1).slice(0, 1, 3)),
      ad.sin(x.slice(1, 2, 3)).expand([3, 5, 2]),
      x.toDType("float64").contiguous(),
    ],
    plain: (x) => [
      plain([2, 3, 4], ([i, j, k]) => at(x, [j!, k!, i!])),
      plain([2, 3, 2], ([i, j, k]) => at(x, [j!, i! + 1, k!]) ** 2),
      plain([3, 5, 2], ([i, , k]) => Math.sin(at(x, [i!, 2, k!]))),
      x,
    ],
  },
  {
    name: "pad",
    shapes: [[2, 3]],
    run: (x) => ad.pad(ad.exp(x), 1, 2, 1),
    plain: (x) => plain([2, 6], ([i, j]) => (j! < 2 || j! > 4 ? 0 : Math.exp(at(x, [i!, j! - 2])))),
  },
  {
    name: "concat",
    shapes: [
      [2, 3],
      [2, 1],
      [2, 2],
    ],
    run: (x, y, z) => ad.concat([x, ad.square(y), z, x], -1),
    plain: (x, y, z) =>
      plain([2, 9], ([i, j]) =>
        j! < 3
          ? at(x, [i!, j!])
          : j! < 4
            ? at(y, [i!, 0]) ** 2
            : j! < 6
              ? at(z, [i!, j! - 4])
              : at(x, [i!, j! - 6]),
      ),
  },
];
