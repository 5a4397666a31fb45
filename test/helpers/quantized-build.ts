/** Quantized layers for tests: plain rounding, with whatever grouping a test wants. */
import type { QuantizedLinear } from "../../lib/formats/quantized.js";

export interface RoundOptions {
  rows: number;
  columns: number;
  bits?: QuantizedLinear["bits"];
  groupSize?: number;
  sym?: boolean;
  /** Gives columns to groups in a scrambled order, as act-order without static groups does. */
  scrambled?: boolean;
}

/** Rounds `[rows, columns]` to the nearest point of a minmax grid. */
export function quantizeForTest(w: Float32Array, options: RoundOptions): QuantizedLinear {
  const { rows, columns, bits = 4, groupSize = -1, sym = false, scrambled = false } = options;
  const groups = groupSize === -1 ? 1 : Math.ceil(columns / groupSize);
  const size = groupSize === -1 ? columns : groupSize;
  const place = Array.from({ length: columns }, (_, i) => i);
  if (scrambled) place.sort((a, b) => ((a * 7919) % 101) - ((b * 7919) % 101) || b - a);
  const groupIndex = new Int32Array(columns);
  place.forEach((column, at) => (groupIndex[column] = Math.floor(at / size)));
  const top = 2 ** bits - 1;
  const scales = new Float32Array(groups * rows);
  const zeros = new Uint8Array(groups * rows);
  const codes = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const low = new Float64Array(groups);
    const high = new Float64Array(groups);
    for (let c = 0; c < columns; c++) {
      const g = groupIndex[c]!;
      low[g] = Math.min(low[g]!, w[row * columns + c]!);
      high[g] = Math.max(high[g]!, w[row * columns + c]!);
    }
    for (let g = 0; g < groups; g++) {
      const reach = Math.max(-low[g]!, high[g]!);
      const [from, to] = sym ? [-reach, reach] : [low[g]!, high[g]!];
      const scale = Math.fround((to - from) / top) || 1;
      scales[g * rows + row] = scale;
      zeros[g * rows + row] = sym ? (top + 1) / 2 : Math.round(-from / scale);
    }
    for (let c = 0; c < columns; c++) {
      const at = groupIndex[c]! * rows + row;
      const code = Math.round(w[row * columns + c]! / scales[at]!) + zeros[at]!;
      codes[row * columns + c] = Math.min(Math.max(code, 0), top);
    }
  }
  return {
    inFeatures: columns,
    outFeatures: rows,
    bits,
    groupSize,
    groups,
    sym,
    codes,
    scales,
    zeros,
    groupIndex,
    scaleDtype: "float32",
  };
}

/** `[outFeatures, inFeatures]`. */
export function dequantizeForTest(q: QuantizedLinear): Float32Array {
  return Float32Array.from(q.codes, (code, i) => {
    const at = q.groupIndex[i % q.inFeatures]! * q.outFeatures + Math.floor(i / q.inFeatures);
    return q.scales[at]! * (code - q.zeros[at]!);
  });
}
