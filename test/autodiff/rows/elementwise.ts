import * as ad from "../../../lib/autodiff/index.js";
import type { Tensor } from "../../../lib/tensor/index.js";
import { zip } from "../../helpers/plain.js";
import { offZero, positive, type Row } from "./row.js";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
/** By its Taylor series: the arguments are small. */
function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let k = 1; k < 60; ++k) sum += (term *= (-x * x) / k) / (2 * k + 1);
  return (2 / Math.sqrt(Math.PI)) * sum;
}

function one(
  name: string,
  run: (x: Tensor) => Tensor,
  f: (x: number) => number,
  domain?: (u: number) => number,
): Row {
  return { name, shapes: [[3, 5]], run, plain: (x) => zip(f, x), ...(domain && { domain }) };
}

function two(
  name: string,
  run: (a: Tensor, b: Tensor) => Tensor,
  f: (a: number, b: number) => number,
  domain?: (u: number) => number,
): Row[] {
  const shapes = [
    [
      [2, 3, 4],
      [2, 3, 4],
    ],
    [[2, 3, 4], [4]],
    [
      [3, 1],
      [2, 1, 4],
    ],
    [[], [3]],
  ];
  return shapes.map((pair) => ({
    name: `${name} ${JSON.stringify(pair)}`,
    shapes: pair,
    run,
    plain: (a, b) => zip(f, a, b),
    ...(domain && { domain }),
  }));
}

export const elementwise: Row[] = [
  ...two("add", ad.add, (a, b) => a + b),
  ...two("sub", ad.sub, (a, b) => a - b),
  ...two("mul", ad.mul, (a, b) => a * b),
  ...two("div", ad.div, (a, b) => a / b, offZero),
  ...two("pow", ad.pow, (a, b) => a ** b, positive),
  ...two("maximum", ad.maximum, Math.max),
  ...two("minimum", ad.minimum, Math.min),
  ...two(
    "where",
    (a, b) => ad.where(ad.greater(a, b), ad.square(a), ad.sin(b)),
    (a, b) => (a > b ? a * a : Math.sin(b)),
  ),
  one(
    "add a number",
    (x) => ad.add(1.5, ad.add(x, 2)),
    (x) => x + 3.5,
  ),
  one(
    "subtract a number, and from one",
    (x) => ad.sub(3, ad.sub(x, 1)),
    (x) => 4 - x,
  ),
  one(
    "multiply by a number",
    (x) => ad.mul(ad.mul(x, 3), -0.5),
    (x) => -1.5 * x,
  ),
  one(
    "divide by a number, and one by x",
    (x) => ad.div(1, ad.div(x, 3)),
    (x) => 3 / x,
    offZero,
  ),
  one(
    "pow 3",
    (x) => ad.pow(x, 3),
    (x) => x ** 3,
  ),
  one(
    "pow -1.5",
    (x) => ad.pow(x, -1.5),
    (x) => x ** -1.5,
    positive,
  ),
  one(
    "pow 0",
    (x) => ad.pow(x, 0),
    () => 1,
    positive,
  ),
  one(
    "a number to the power of x",
    (x) => ad.pow(2, x),
    (x) => 2 ** x,
  ),
  one(
    "maximum with a number",
    (x) => ad.maximum(0.2, ad.square(x)),
    (x) => Math.max(x * x, 0.2),
  ),
  one(
    "minimum with a number",
    (x) => ad.minimum(ad.square(x), 0.2),
    (x) => Math.min(x * x, 0.2),
  ),
  one("neg", ad.neg, (x) => -x),
  one(
    "affine",
    (x) => ad.affine(x, 2, -1),
    (x) => 2 * x - 1,
  ),
  one("exp", ad.exp, Math.exp),
  one("log", ad.log, Math.log, positive),
  one("sqrt", ad.sqrt, Math.sqrt, positive),
  one("reciprocal", ad.reciprocal, (x) => 1 / x, offZero),
  one("square", ad.square, (x) => x * x),
  one("sin", ad.sin, Math.sin, (u) => 4 * u),
  one("cos", ad.cos, Math.cos, (u) => 4 * u),
  one("erf", ad.erf, erf, (u) => 2 * u),
  one("abs", ad.abs, Math.abs, offZero),
  one("relu", ad.relu, (x) => Math.max(x, 0), offZero),
  one("tanh", ad.tanh, Math.tanh, (u) => 2 * u),
  one("sigmoid", ad.sigmoid, sigmoid, (u) => 3 * u),
  one(
    "silu",
    ad.silu,
    (x) => x * sigmoid(x),
    (u) => 3 * u,
  ),
  one(
    "softplus",
    ad.softplus,
    (x) => Math.log(1 + Math.exp(x)),
    (u) => 3 * u,
  ),
  one(
    "gelu",
    ad.gelu,
    (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
    (u) => 3 * u,
  ),
  one(
    "gelu by tanh",
    (x) => ad.gelu(x, { approximate: "tanh" }),
    (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    (u) => 3 * u,
  ),
  one(
    "clamp",
    (x) => ad.clamp(ad.mul(x, 2), -0.7, 0.9),
    (x) => Math.min(Math.max(2 * x, -0.7), 0.9),
  ),
  // Third derivatives: the second derivative of a first one.
  ...(
    [
      ["tanh", ad.tanh, (x) => 1 - Math.tanh(x) ** 2],
      ["sigmoid", ad.sigmoid, (x) => sigmoid(x) * sigmoid(-x)],
      ["silu", ad.silu, (x) => sigmoid(x) * (1 + x * sigmoid(-x))],
      ["softplus", ad.softplus, sigmoid],
      [
        "gelu",
        ad.gelu,
        (x) =>
          (1 + erf(x / Math.SQRT2)) / 2 + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
      ],
      [
        "gelu by tanh",
        (x) => ad.gelu(x, { approximate: "tanh" }),
        (x) => {
          const t = Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
          const slope = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
          return (1 + t + x * (1 - t * t) * slope) / 2;
        },
      ],
    ] as [string, (x: Tensor) => Tensor, (x: number) => number][]
  ).map(([name, f, slope]) =>
    one(
      `the gradient of ${name}`,
      (x) => ad.grad(() => ad.sum(f(x)), [x])[0]!,
      slope,
      (u) => 2 * u,
    ),
  ),
];
