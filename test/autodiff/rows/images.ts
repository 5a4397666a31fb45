import * as ad from "../../../lib/autodiff/index.js";
import { Tensor } from "../../../lib/tensor/index.js";
import { at, indices, plain, type Plain } from "../../helpers/plain.js";
import type { Row } from "./row.js";

interface Geometry {
  stride?: [number, number];
  padding?: [number, number];
  dilation?: [number, number];
  groups?: number;
}

/** Seven nested loops. */
function convolution(x: Plain, w: Plain, geometry: Geometry): Plain {
  const { stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 } = geometry;
  const [n, , height, width] = x.shape as [number, number, number, number];
  const [outputs, channels, kh, kw] = w.shape as [number, number, number, number];
  const out = (d: 0 | 1, length: number, kernel: number) =>
    Math.floor((length + 2 * padding[d] - dilation[d] * (kernel - 1) - 1) / stride[d]) + 1;
  return plain([n, outputs, out(0, height, kh), out(1, width, kw)], ([b, o, i, j]) => {
    const group = Math.floor(o! / (outputs / groups));
    let sum = 0;
    for (const [c, p, q] of indices([channels, kh, kw])) {
      const y = i! * stride[0] - padding[0] + p! * dilation[0];
      const z = j! * stride[1] - padding[1] + q! * dilation[1];
      if (y >= 0 && y < height && z >= 0 && z < width)
        sum += at(w, [o!, c!, p!, q!]) * at(x, [b!, group * channels + c!, y, z]);
    }
    return sum;
  });
}

const cases: { x: number[]; w: number[]; geometry: Geometry }[] = [
  { x: [2, 3, 5, 4], w: [4, 3, 3, 2], geometry: {} },
  { x: [1, 2, 5, 5], w: [3, 2, 3, 3], geometry: { padding: [1, 1] } },
  { x: [9, 2, 3, 3], w: [2, 2, 2, 2], geometry: {} },
  { x: [2, 2, 6, 7], w: [2, 2, 3, 2], geometry: { stride: [2, 3], padding: [2, 1] } },
  { x: [1, 2, 7, 6], w: [2, 2, 2, 3], geometry: { dilation: [3, 2], padding: [1, 2] } },
  { x: [2, 4, 4, 4], w: [6, 2, 3, 3], geometry: { groups: 2, padding: [1, 1] } },
  { x: [1, 3, 4, 3], w: [3, 1, 2, 2], geometry: { groups: 3, stride: [2, 1] } },
  { x: [2, 3, 2, 2], w: [4, 3, 1, 1], geometry: {} },
  { x: [1, 1, 3, 3], w: [1, 1, 1, 1], geometry: { padding: [1, 1] } },
];

const convolutions: Row[] = cases.map(({ x, w, geometry }) => ({
  name: `conv2d [${x.join()}] with [${w.join()}] ${JSON.stringify(geometry)}`,
  shapes: [x, w],
  run: (a, b) => ad.conv2d(a, b, undefined, geometry),
  plain: (a, b) => convolution(a, b, geometry),
}));

/** By scattering: each element of x is added, times the filter, where it came from. */
function transposed(x: Plain, w: Plain, stride: number, padding: number, extra: number): Plain {
  const [n, outputs, height, width] = x.shape as [number, number, number, number];
  const [, channels, kh, kw] = w.shape as [number, number, number, number];
  const size = (length: number, kernel: number) =>
    (length - 1) * stride - 2 * padding + kernel + extra;
  const shape = [n, channels, size(height, kh), size(width, kw)];
  const values = new Float64Array(shape.reduce((a, b) => a * b, 1));
  for (const [b, o, i, j] of indices([n, outputs, height, width]))
    for (const [c, p, q] of indices([channels, kh, kw])) {
      const y = i! * stride - padding + p!;
      const z = j! * stride - padding + q!;
      if (y < 0 || y >= shape[2]! || z < 0 || z >= shape[3]!) continue;
      values[((b! * channels + c!) * shape[2]! + y) * shape[3]! + z]! +=
        at(x, [b!, o!, i!, j!]) * at(w, [o!, c!, p!, q!]);
    }
  return { shape, values };
}

/** A function of the elements inside each window of the last two dimensions. */
function pooled(
  f: (values: number[], whole: number) => number,
  x: Plain,
  kernel: [number, number],
  stride: [number, number],
  padding: [number, number],
): Plain {
  const [height, width] = x.shape.slice(-2) as [number, number];
  const out = [height, width].map(
    (n, d) => Math.floor((n + 2 * padding[d as 0] - kernel[d as 0]) / stride[d as 0]) + 1,
  );
  return plain([...x.shape.slice(0, -2), ...out], (index) => {
    const [i, j] = index.slice(-2);
    const inside: number[] = [];
    for (const [p, q] of indices(kernel)) {
      const y = i! * stride[0] - padding[0] + p!;
      const z = j! * stride[1] - padding[1] + q!;
      if (y >= 0 && y < height && z >= 0 && z < width)
        inside.push(at(x, [...index.slice(0, -2), y, z]));
    }
    return f(inside, kernel[0] * kernel[1]);
  });
}

const total = (values: number[]) => values.reduce((a, b) => a + b, 0);

export const images: Row[] = [
  ...convolutions,
  {
    name: "conv2d with bias",
    shapes: [[2, 2, 3, 3], [3, 2, 2, 2], [3]],
    run: (x, w, b) => ad.conv2d(x, w, b),
    plain: (x, w, b) => {
      const y = convolution(x, w, {});
      return plain(y.shape, (index) => at(y, index) + at(b, [index[1]!]));
    },
  },
  {
    name: "convTranspose2d",
    shapes: [[2, 3, 3, 2], [3, 2, 3, 2], [2]],
    run: (x, w, b) => ad.convTranspose2d(x, w, b, { stride: 2, padding: 1, outputPadding: 1 }),
    plain: (x, w, b) => {
      const y = transposed(x, w, 2, 1, 1);
      return plain(y.shape, (index) => at(y, index) + at(b, [index[1]!]));
    },
  },
  {
    name: "avgPool2d",
    shapes: [[2, 2, 5, 6]],
    run: (x) => [
      ad.avgPool2d(x, 2),
      ad.avgPool2d(x, [3, 2], { stride: [2, 1], padding: 1 }),
      ad.avgPool2d(x, 3, { padding: 1, countIncludePad: false }),
      ad.globalAvgPool2d(x),
    ],
    plain: (x) => [
      pooled((v) => total(v) / 4, x, [2, 2], [2, 2], [0, 0]),
      pooled((v, whole) => total(v) / whole, x, [3, 2], [2, 1], [1, 1]),
      pooled((v) => total(v) / v.length, x, [3, 3], [3, 3], [1, 1]),
      plain(
        [2, 2],
        ([n, c]) => total(indices([5, 6]).map((index) => at(x, [n!, c!, ...index]))) / 30,
      ),
    ],
  },
  {
    name: "maxPool2d",
    shapes: [[2, 2, 5, 6]],
    run: (x) => [
      ad.maxPool2d(ad.exp(x), 2),
      ad.maxPool2d(x, [3, 2], { stride: [2, 1], padding: [1, 0] }),
    ],
    plain: (x) => [
      pooled((v) => Math.exp(Math.max(...v)), x, [2, 2], [2, 2], [0, 0]),
      pooled((v) => Math.max(...v), x, [3, 2], [2, 1], [1, 0]),
    ],
  },
];

/** The angle of a pair at a place, written out. */
const angle = (place: number, pair: number, width: number) =>
  place / 10_000 ** ((2 * pair) / width);

export const others: Row[] = [
  {
    name: "rotary",
    shapes: [[2, 3, 6]],
    run: (x) => {
      const dtype = x.dtype as "float64";
      const angles = ad.rotaryAngles(3, 4, { first: 5, dtype, device: x.device });
      return [ad.rotary(x, angles), ad.rotary(x, angles, { interleaved: true })];
    },
    plain: (x) =>
      [false, true].map((interleaved) =>
        plain(x.shape, ([b, t, i]) => {
          if (i! >= 4) return at(x, [b!, t!, i!]);
          const pair = interleaved ? Math.floor(i! / 2) : i! % 2;
          const first = interleaved ? i! % 2 === 0 : i! < 2;
          const other = interleaved ? (first ? i! + 1 : i! - 1) : (i! + 2) % 4;
          const turn = angle(5 + t!, pair, 4);
          const sign = first ? -1 : 1;
          return (
            at(x, [b!, t!, i!]) * Math.cos(turn) + sign * at(x, [b!, t!, other]) * Math.sin(turn)
          );
        }),
      ),
  },
  {
    name: "dropout: its elements are kept or dropped as the first time",
    shapes: [[4, 5]],
    run: (x) => ad.square(ad.dropout(x, 0.4, { seed: 3, step: 2 })),
    plain: (x) => {
      const ones = Tensor.from(new Float32Array(20).fill(1), [4, 5]);
      const mask = ad.dropout(ones, 0.4, { seed: 3, step: 2 }).dataSync() as Float32Array;
      return plain(x.shape, ([i, j]) => (mask[i! * 5 + j!] === 0 ? 0 : at(x, [i!, j!]) / 0.6) ** 2);
    },
  },
];
