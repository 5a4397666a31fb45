import type { ConvGeometry } from "../../lib/ops/conv2d.js";
import { indices, plain, sizeOf, type Plain } from "./plain.js";

export interface ConvCase {
  readonly x: readonly [number, number, number, number];
  readonly w: readonly [number, number, number, number];
  readonly geometry: ConvGeometry;
}

const geometry = (stride = 1, padding = 0, dilation = 1, groups = 1): ConvGeometry => ({
  groups,
  stride: [stride, 1],
  padding: [padding, 2 * padding],
  dilation: [1, dilation],
});

/** One of everything, and one with more than a tile of images. */
export const convCases: readonly ConvCase[] = [
  { x: [0, 2, 4, 4], w: [3, 2, 3, 3], geometry: geometry() },
  { x: [1, 1, 1, 1], w: [1, 1, 1, 1], geometry: geometry() },
  { x: [3, 5, 9, 11], w: [7, 5, 3, 2], geometry: geometry(2, 1, 3) },
  { x: [2, 6, 5, 7], w: [4, 3, 2, 3], geometry: geometry(1, 1, 1, 2) },
  { x: [2, 5, 6, 6], w: [5, 1, 3, 3], geometry: geometry(2, 1, 1, 5) },
  { x: [11, 4, 7, 7], w: [6, 4, 1, 1], geometry: geometry() },
  { x: [19, 3, 8, 8], w: [8, 3, 3, 3], geometry: geometry(1, 1) },
];

export function outShape({ x, w, geometry: { stride, padding, dilation } }: ConvCase): number[] {
  const out = ([0, 1] as const).map(
    (d) =>
      Math.floor((x[2 + d]! + 2 * padding[d] - dilation[d] * (w[2 + d]! - 1) - 1) / stride[d]) + 1,
  );
  return [x[0], w[0], ...out];
}

/** Every product of the trilinear form: f(flat index in x, in w, in y). */
export function eachProduct(row: ConvCase, f: (x: number, w: number, y: number) => void): void {
  const { stride, padding, dilation, groups } = row.geometry;
  const [, channels, height, width] = row.x;
  const [outputs, perGroup, kh, kw] = row.w;
  indices(outShape(row)).forEach(([n, o, i, j], y) => {
    const group = Math.floor(o! / (outputs / groups));
    for (const [c, p, q] of indices([perGroup, kh, kw])) {
      const u = i! * stride[0] - padding[0] + p! * dilation[0];
      const v = j! * stride[1] - padding[1] + q! * dilation[1];
      if (u < 0 || u >= height || v < 0 || v >= width) continue;
      const x = ((n! * channels + group * perGroup + c!) * height + u) * width + v;
      f(x, ((o! * perGroup + c!) * kh + p!) * kw + q!, y);
    }
  });
}

/** Sums of products, with the sums of their sizes: the scale of the rounding error. */
export function accumulate(
  shape: readonly number[],
  row: ConvCase,
  term: (x: number, w: number, y: number) => [at: number, value: number],
): { sums: Plain; sizes: Float64Array; longest: number } {
  const sums = plain(shape, () => 0);
  const sizes = new Float64Array(sizeOf(shape));
  const counts = new Float64Array(sizeOf(shape));
  eachProduct(row, (x, w, y) => {
    const [at, value] = term(x, w, y);
    sums.values[at]! += value;
    sizes[at]! += Math.abs(value);
    counts[at]! += 1;
  });
  return { sums, sizes, longest: counts.reduce((a, b) => Math.max(a, b), 1) };
}
