import { ArgumentError, expected, ShapeError } from "../errors.js";
import type { QuantizedLinear } from "./quantized.js";

/** The size of `q.groupSize` in columns: `inFeatures` for -1. At least 1. */
export function columnsPerGroup(q: Pick<QuantizedLinear, "groupSize" | "inFeatures">): number {
  return q.groupSize === -1 ? Math.max(q.inFeatures, 1) : q.groupSize;
}

/** True when column i belongs to group `floor(i / groupSize)`: no reordering is needed to export it. */
export function hasContiguousGroups(q: QuantizedLinear): boolean {
  const size = columnsPerGroup(q);
  return q.groupIndex.every((group, column) => group === Math.floor(column / size));
}

/**
 * The order of columns that makes groups contiguous: a stable sort by group.
 *
 * @returns `[inFeatures]`: entry t is the original column that stands at place t.
 * @throws ShapeError when a group other than the last would not hold exactly `groupSize` columns.
 */
export function columnsByGroup(q: QuantizedLinear): Int32Array {
  const order = Int32Array.from(q.groupIndex.keys()).sort(
    (a, b) => (q.groupIndex[a] ?? 0) - (q.groupIndex[b] ?? 0) || a - b,
  );
  const size = columnsPerGroup(q);
  order.forEach((column, place) => {
    if (q.groupIndex[column] !== Math.floor(place / size)) {
      throw new ShapeError(
        `columnsByGroup: expected groups of ${size} columns for groupIndex but received another ` +
          `count in group ${Math.floor(place / size)}`,
      );
    }
  });
  return order;
}

/**
 * Checks a quantized layer before it is written: lengths, ranges, group numbers.
 *
 * @throws ShapeError for a wrong length; ArgumentError for a value out of range.
 */
export function checkQuantized(fn: string, q: QuantizedLinear): void {
  const { inFeatures, outFeatures, bits, groups } = q;
  if (![2, 3, 4, 8].includes(bits))
    throw new ArgumentError(expected(fn, "2, 3, 4 or 8", "bits", bits));
  if (q.groupSize !== -1 && !(Number.isInteger(q.groupSize) && q.groupSize > 0)) {
    throw new ArgumentError(expected(fn, "-1 or an integer > 0", "groupSize", q.groupSize));
  }
  const count = q.groupSize === -1 ? 1 : Math.ceil(inFeatures / q.groupSize);
  if (groups !== count) throw new ShapeError(expected(fn, String(count), "groups", groups));
  const lengths = {
    codes: outFeatures * inFeatures,
    scales: groups * outFeatures,
    zeros: groups * outFeatures,
    groupIndex: inFeatures,
  };
  for (const [name, length] of Object.entries(lengths) as [keyof typeof lengths, number][]) {
    if (q[name].length !== length) {
      throw new ShapeError(expected(fn, `${length} values`, name, q[name].length));
    }
  }
  if (q.bias !== undefined && q.bias.length !== outFeatures) {
    throw new ShapeError(expected(fn, `${outFeatures} values`, "bias", q.bias.length));
  }
  const largest = 2 ** bits - 1;
  checkRange(fn, "codes", q.codes, largest);
  checkRange(fn, "zeros", q.zeros, largest);
  checkRange(fn, "groupIndex", q.groupIndex, groups - 1);
  const bad = q.scales.findIndex((scale) => !Number.isFinite(scale));
  if (bad !== -1)
    throw new ArgumentError(expected(fn, "finite scales", `scales[${bad}]`, q.scales[bad]));
}

function checkRange(
  fn: string,
  name: string,
  values: Uint8Array | Int32Array,
  largest: number,
): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (value < 0 || value > largest) {
      throw new ArgumentError(expected(fn, `an integer in 0..${largest}`, `${name}[${i}]`, value));
    }
  }
}
