/** Plain float64 references for Gram matrices. */
import { normal } from "./gptq-oracle.js";

export { normal };

/** `[count, columns]` correlated Gaussian numbers, channel scales from 1/4 to 4. */
export function tokens(count: number, columns: number, draw: () => number): Float32Array {
  const X = new Float32Array(count * columns);
  for (let t = 0; t < count; ++t) {
    let last = 0;
    for (let i = 0; i < columns; ++i) {
      last = 0.7 * last + 0.7 * draw();
      X[t * columns + i] = last * 2 ** ((i % 5) - 2);
    }
  }
  return X;
}

/** 2/N X^T X of X `[N, columns]`, element by element in float64. */
export function gramOracle(X: ArrayLike<number>, columns: number): Float64Array {
  const count = X.length / columns;
  const H = new Float64Array(columns * columns);
  for (let i = 0; i < columns; ++i) {
    for (let j = 0; j <= i; ++j) {
      let sum = 0;
      for (let t = 0; t < count; ++t) sum += X[t * columns + i]! * X[t * columns + j]!;
      H[i * columns + j] = H[j * columns + i] = (2 / count) * sum;
    }
  }
  return H;
}

/** Largest difference over the geometric mean of the two diagonals: the natural scale of an entry. */
export function worstRelative(got: ArrayLike<number>, wanted: Float64Array): number {
  const n = Math.sqrt(wanted.length);
  let worst = 0;
  for (let i = 0; i < n; ++i) {
    for (let j = 0; j < n; ++j) {
      const scale = Math.sqrt(wanted[i * n + i]! * wanted[j * n + j]!) || 1;
      worst = Math.max(worst, Math.abs(got[i * n + j]! - wanted[i * n + j]!) / scale);
    }
  }
  return worst;
}

/** The im2col patches of one group of `[batch, channels, height, width]`, `[patches, channels/groups * kh * kw]`. */
export function patchesOracle(
  X: ArrayLike<number>,
  [batch, channels, height, width]: readonly [number, number, number, number],
  g: {
    kernel: readonly [number, number];
    stride: readonly [number, number];
    padding: readonly [number, number, number, number];
    dilation: readonly [number, number];
    groups: number;
  },
  group: number,
): number[] {
  const rows: number[] = [];
  const per = channels / g.groups;
  const [top, left, bottom, right] = g.padding;
  for (let b = 0; b < batch; ++b) {
    for (let y = -top; y + g.dilation[0] * (g.kernel[0] - 1) < height + bottom; y += g.stride[0]) {
      for (let x = -left; x + g.dilation[1] * (g.kernel[1] - 1) < width + right; x += g.stride[1]) {
        for (let c = group * per; c < (group + 1) * per; ++c) {
          for (let i = 0; i < g.kernel[0]; ++i) {
            for (let j = 0; j < g.kernel[1]; ++j) {
              const [row, column] = [y + i * g.dilation[0], x + j * g.dilation[1]];
              const outside = row < 0 || row >= height || column < 0 || column >= width;
              rows.push(outside ? 0 : X[((b * channels + c) * height + row) * width + column]!);
            }
          }
        }
      }
    }
  }
  return rows;
}
