import type { Tensor } from "../../../lib/tensor/index.js";
import type { Plain } from "../../helpers/plain.js";

/** One use of an operation, for the table that every operation is in. */
export interface Row {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  /** From numbers in (-1, 1) to where the operation is smooth; default those numbers. */
  readonly domain?: (u: number) => number;
  readonly run: (...xs: Tensor[]) => Tensor | Tensor[];
  /** The same by plain loops in float64. */
  readonly plain: (...xs: Plain[]) => Plain | Plain[];
  /** Relative error allowed to float32 and float64 values, in units of eps; default 64. */
  readonly ulps?: number;
}

/** Away from 0, where a piecewise function has its kink. */
export const offZero = (u: number): number => u + 0.3 * Math.sign(u);
export const positive = (u: number): number => 1.2 + u;
