import type { Progress } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import {
  type Bits,
  type GridOptions,
  type ScaleDType,
  checkGrid,
} from "../ops/quantization-grid.js";

/** Options of every quantizer. */
export interface QuantizeOptions {
  /** Bits per weight. Default 4. */
  readonly bits?: Bits | undefined;
  /** Columns per scale and zero point; -1: one group a row. A group larger than the row is the row; the last may be shorter. Default 128. */
  readonly groupSize?: number | undefined;
  /** Symmetric grid: zero point 2^(bits-1). Default true. */
  readonly sym?: boolean | undefined;
  /** Search each range by the smallest sum of |error|^2.4. Default false. */
  readonly mse?: boolean | undefined;
  /** Precision in which scales are stored; codes are chosen for the scale as stored. Default "float16". */
  readonly scaleDtype?: ScaleDType | undefined;
  /** Which rows the errors of the report are computed from; never changes codes. "sampled": 256 rows chosen by seed. Default "sampled". */
  readonly report?: "full" | "sampled" | "none" | undefined;
  /** Names the layer in messages. */
  readonly name?: string | undefined;
  /** Rejects with `signal.reason` within 100 ms. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface GptqOptions extends QuantizeOptions {
  /** Process columns by falling diag H. Default false. */
  readonly descAct?: boolean | undefined;
  /** Take the grids of all groups before the sweep, from the original columns (with `descAct`: no reordering at run time). Default false. */
  readonly staticGroups?: boolean | undefined;
  /** Fraction of mean(diag H) added to the diagonal. Default 0.01. */
  readonly dampPercent?: number | undefined;
  /** Columns per lazy update: speed only, the codes do not depend on it (exact ties aside). Default 128. */
  readonly blockSize?: number | undefined;
  /** Turn every rescue (raised damping, other precision) into an error. Default false. */
  readonly strict?: boolean | undefined;
  /** What to do when no damping helps: throw, or round to nearest and say so in the report. Default "error". */
  readonly onFailure?: "error" | "rtn" | undefined;
}

export interface ResolvedQuantize extends GridOptions {
  readonly report: "full" | "sampled" | "none";
  readonly name: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

export interface ResolvedGptq extends ResolvedQuantize {
  readonly descAct: boolean;
  readonly staticGroups: boolean;
  readonly dampPercent: number;
  readonly blockSize: number;
  readonly strict: boolean;
  readonly onFailure: "error" | "rtn";
}

function checkOneOf(fn: string, name: string, value: unknown, allowed: readonly unknown[]): void {
  if (!allowed.includes(value)) {
    throw new ArgumentError(
      expected(fn, allowed.map((one) => JSON.stringify(one)).join(" or "), name, value),
    );
  }
}

/** Fills in the defaults and checks every option before any work. */
export function resolveQuantize(fn: string, options: QuantizeOptions): ResolvedQuantize {
  const resolved: ResolvedQuantize = {
    bits: options.bits ?? 4,
    groupSize: options.groupSize ?? 128,
    sym: options.sym ?? true,
    mse: options.mse ?? false,
    scaleDtype: options.scaleDtype ?? "float16",
    report: options.report ?? "sampled",
    name: options.name,
    signal: options.signal,
    onProgress: options.onProgress,
  };
  checkGrid(fn, resolved);
  checkOneOf(fn, "report", resolved.report, ["full", "sampled", "none"]);
  return resolved;
}

export function resolveGptq(fn: string, options: GptqOptions): ResolvedGptq {
  const resolved: ResolvedGptq = {
    ...resolveQuantize(fn, options),
    descAct: options.descAct ?? false,
    staticGroups: options.staticGroups ?? false,
    dampPercent: options.dampPercent ?? 0.01,
    blockSize: options.blockSize ?? 128,
    strict: options.strict ?? false,
    onFailure: options.onFailure ?? "error",
  };
  for (const name of ["descAct", "staticGroups", "strict"] as const)
    checkOneOf(fn, name, resolved[name], [true, false]);
  checkOneOf(fn, "onFailure", resolved.onFailure, ["error", "rtn"]);
  checkInteger(fn, "blockSize", resolved.blockSize, 1, Number.MAX_SAFE_INTEGER);
  if (!(resolved.dampPercent >= 0 && resolved.dampPercent <= 1)) {
    throw new ArgumentError(
      expected(fn, "a number from 0 to 1", "dampPercent", resolved.dampPercent),
    );
  }
  return resolved;
}
