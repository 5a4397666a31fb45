import * as ad from "../../../lib/autodiff/index.js";
import { at, plain, type Plain } from "../../helpers/plain.js";
import type { Row } from "./row.js";

/** Batch dimensions broadcast. */
function product(a: Plain, b: Plain): Plain {
  const rank = Math.max(a.shape.length, b.shape.length);
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  const batch = Array.from({ length: rank - 2 }, (_, d) =>
    Math.max(a.shape[d - rank + a.shape.length] ?? 1, b.shape[d - rank + b.shape.length] ?? 1),
  );
  return plain([...batch, m, n], (index) => {
    const [i, j] = index.slice(-2);
    let sum = 0;
    for (let p = 0; p < k; ++p)
      sum += at(a, [...index.slice(0, -2), i!, p]) * at(b, [...index.slice(0, -2), p, j!]);
    return sum;
  });
}

const transposed = (x: Plain): Plain =>
  plain([x.shape[1]!, x.shape[0]!], ([i, j]) => at(x, [j!, i!]));

const shapes = [
  [
    [3, 4],
    [4, 2],
  ],
  [
    [2, 3, 4],
    [4, 5],
  ],
  [
    [2, 3, 4],
    [2, 4, 2],
  ],
  [
    [3, 1, 2, 4],
    [2, 4, 3],
  ],
  [
    [2, 3],
    [2, 3, 1],
  ],
];

export const products: Row[] = [
  ...shapes.map((pair): Row => ({
    name: `matmul ${JSON.stringify(pair)}`,
    shapes: pair,
    run: ad.matmul,
    plain: product,
  })),
  {
    name: "matmul of transposed views",
    shapes: [
      [4, 3],
      [2, 4],
    ],
    run: (a, b) => ad.matmul(a.transpose(), b.transpose()),
    plain: (a, b) => product(transposed(a), transposed(b)),
  },
  {
    name: "a matrix times itself",
    shapes: [[3, 3]],
    run: (a) => ad.matmul(a, ad.matmul(a, a.transpose())),
    plain: (a) => product(a, product(a, transposed(a))),
  },
  {
    name: "linear",
    shapes: [[2, 3, 4], [5, 4], [5]],
    run: ad.linear,
    plain: (x, w, b) => {
      const y = product(x, transposed(w));
      return plain(y.shape, (index) => at(y, index) + at(b, index.slice(-1)));
    },
  },
  {
    name: "linear without bias",
    shapes: [
      [2, 4],
      [3, 4],
    ],
    run: (x, w) => ad.linear(x, w),
    plain: (x, w) => product(x, transposed(w)),
  },
];
