import type { Task } from "../binding/index.js";
import { NumericalError, OsculateError } from "../errors.js";
import { type GptqFactor, gptqFactorTask } from "../ops/gptq-factor.js";
import type { Tensor } from "../tensor/index.js";
import type { FactorAttempt } from "./layer-report.js";

/** Largest layer width factorized in float64 from the start. */
export const FLOAT64_COLUMNS = 4096;

export interface LadderOptions {
  readonly dampPercent: number;
  readonly descAct: boolean;
  readonly strict: boolean;
  readonly name: string | undefined;
}

/** The damping fractions tried: the one asked for, then max(2x, 0.01) up to 1. */
export function* dampings(first: number): Generator<number> {
  yield first;
  for (let damping = first; damping < 1;) {
    damping = Math.min(1, Math.max(2 * damping, 0.01));
    yield damping;
  }
}

/**
 * Factorizes a layer's matrix; when it is not positive definite, raises the damping step by step, then (for layers wider
 * than `FLOAT64_COLUMNS`, which start in float32) tries again in float64. Every try is in `attempts`.
 *
 * @throws NumericalError `NOT_POSITIVE_DEFINITE` when nothing helped, or at the first failure with `strict`; details.attempts.
 */
export function* factorLadder(
  fn: string,
  matrix: Tensor,
  options: LadderOptions,
): Task<{ factor: GptqFactor; attempts: FactorAttempt[] }> {
  const precisions =
    (matrix.shape[0] ?? 0) <= FLOAT64_COLUMNS
      ? (["float64"] as const)
      : (["float32", "float64"] as const);
  const attempts: FactorAttempt[] = [];
  const layer =
    options.name === undefined ? "the layer's matrix" : `the matrix of layer ${options.name}`;
  for (const precision of precisions) {
    for (const dampPercent of dampings(options.dampPercent)) {
      try {
        const factor = yield* gptqFactorTask(fn, matrix, {
          dampPercent,
          actOrder: options.descAct,
          precision,
        });
        attempts.push({ dampPercent, precision });
        return { factor, attempts };
      } catch (error) {
        if (!(error instanceof OsculateError) || error.code !== "NOT_POSITIVE_DEFINITE")
          throw error;
        const failedMinor = Number(error.details["index"]);
        attempts.push({ dampPercent, precision, failedMinor });
        if (options.strict) {
          throw new NumericalError(
            "NOT_POSITIVE_DEFINITE",
            `${fn}: ${layer} is not positive definite with dampPercent ${dampPercent} (pivot of column ${failedMinor}), and strict allows no other`,
            { details: { attempts, failedMinor, name: options.name }, cause: error },
          );
        }
      }
    }
  }
  throw new NumericalError(
    "NOT_POSITIVE_DEFINITE",
    `${fn}: ${layer} is not positive definite with any damping up to 1 (${attempts.length} tried; pivot of column ${attempts.at(-1)?.failedMinor ?? 0}). ` +
      `It is no Gram matrix of real inputs: check the calibration data, or pass onFailure: "rtn".`,
    { details: { attempts, failedMinor: attempts.at(-1)?.failedMinor, name: options.name } },
  );
}

/** @internal What a user should know about the matrix a layer was compressed with. */
export function factorWarnings(
  tokens: number,
  columns: number,
  dead: number,
  attempts: readonly FactorAttempt[],
): string[] {
  const found: string[] = [];
  if (tokens > 0 && tokens < columns) {
    found.push(
      `${tokens} calibration tokens for ${columns} columns: the matrix is singular and leans on damping; use more data`,
    );
  }
  if (dead > 0) found.push(`${dead} of ${columns} columns never saw an input other than zero`);
  const last = attempts.at(-1);
  if (attempts.length > 1 && last) {
    found.push(
      `not positive definite at first: rescued by dampPercent ${last.dampPercent} in ${last.precision} after ${attempts.length - 1} failures`,
    );
  }
  return found;
}
