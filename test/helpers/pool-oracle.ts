import type { PoolGeometry } from "../../lib/ops/pool.js";

export interface PoolCase {
  readonly x: readonly [number, number, number];
  readonly geometry: PoolGeometry;
}

export const poolCases: readonly PoolCase[] = [
  { x: [0, 4, 4], geometry: { kernel: [2, 2], stride: [2, 2], padding: [0, 0] } },
  { x: [1, 1, 1], geometry: { kernel: [1, 1], stride: [1, 1], padding: [0, 0] } },
  { x: [3, 7, 9], geometry: { kernel: [3, 2], stride: [2, 3], padding: [1, 1] } },
  { x: [70, 20, 17], geometry: { kernel: [3, 3], stride: [1, 2], padding: [1, 0] } },
];

export function outShape({ x, geometry: { kernel, stride, padding } }: PoolCase): number[] {
  const out = ([0, 1] as const).map(
    (d) => Math.floor((x[1 + d]! + 2 * padding[d] - kernel[d]) / stride[d]) + 1,
  );
  return [x[0], ...out];
}

/** The flat indices in x of each window, in the order of the outputs. */
export function windowsOf(row: PoolCase): number[][] {
  const { kernel, stride, padding } = row.geometry;
  const [planes, height, width] = row.x;
  const [, outH, outW] = outShape(row) as [number, number, number];
  const windows: number[][] = [];
  for (let p = 0; p < planes; ++p)
    for (let i = 0; i < outH; ++i)
      for (let j = 0; j < outW; ++j) {
        const window: number[] = [];
        for (let a = 0; a < kernel[0]; ++a)
          for (let b = 0; b < kernel[1]; ++b) {
            const y = i * stride[0] - padding[0] + a;
            const x = j * stride[1] - padding[1] + b;
            if (y >= 0 && y < height && x >= 0 && x < width)
              window.push((p * height + y) * width + x);
          }
        windows.push(window);
      }
  return windows;
}
