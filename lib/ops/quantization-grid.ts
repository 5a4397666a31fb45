import { ArgumentError, expected } from "../errors.js";

export type Bits = 2 | 3 | 4 | 8;
export type ScaleDType = "float16" | "float32";

/** How the grids of a layer are made. */
export interface GridOptions {
  readonly bits: Bits;
  /** Columns per grid, or -1 for one grid a row. */
  readonly groupSize: number;
  /** Range mirrored around zero, zero point 2^(bits-1). */
  readonly sym: boolean;
  /** Shrink the range to the smallest sum of |error|^2.4, 80 steps. */
  readonly mse: boolean;
  /** Precision scales are rounded to before anything uses them. */
  readonly scaleDtype: ScaleDType;
}

/** The arrays of a quantized layer, filled by a kernel. */
export interface Codes {
  /** `[out, in]` */
  readonly codes: Uint8Array;
  /** `[groups, out]` */
  readonly scales: Float32Array;
  /** `[groups, out]` */
  readonly zeros: Uint8Array;
  /** `[in]` */
  readonly groupIndex: Int32Array;
  readonly groups: number;
}

export function checkGrid(fn: string, grid: GridOptions): void {
  if (![2, 3, 4, 8].includes(grid.bits))
    throw new ArgumentError(expected(fn, "2, 3, 4 or 8", "bits", grid.bits));
  if (!Number.isInteger(grid.groupSize) || grid.groupSize === 0 || grid.groupSize < -1) {
    throw new ArgumentError(expected(fn, "a positive integer or -1", "groupSize", grid.groupSize));
  }
  for (const name of ["sym", "mse"] as const) {
    if (typeof grid[name] !== "boolean")
      throw new ArgumentError(expected(fn, "a boolean", name, grid[name]));
  }
  if (!(["float16", "float32"] as string[]).includes(grid.scaleDtype)) {
    throw new ArgumentError(expected(fn, '"float16" or "float32"', "scaleDtype", grid.scaleDtype));
  }
}

/** Number of grids of a row. A group larger than the row is the row; the last group may be shorter. */
export function groupCount(columns: number, groupSize: number): number {
  return groupSize === -1 || groupSize >= columns ? 1 : Math.ceil(columns / groupSize);
}

export function newCodes(out: number, columns: number, groupSize: number): Codes {
  const groups = groupCount(columns, groupSize);
  return {
    codes: new Uint8Array(out * columns),
    scales: new Float32Array(groups * out),
    zeros: new Uint8Array(groups * out),
    groupIndex: new Int32Array(columns),
    groups,
  };
}
