import type { Progress, Task } from "../../binding/index.js";
import type { InputGram } from "../../curvature/index.js";
import { ArgumentError, NumericalError, OsculateError, expected } from "../../errors.js";
import type { QuantizedLinear } from "../../formats/quantized.js";
import { checkInteger, checkTensor } from "../../ops/check.js";
import type { Pruned } from "../../ops/prune.js";
import { type Codes, type GridOptions, checkGrid } from "../../ops/quantization-grid.js";
import { roundToNearestTask } from "../../ops/round-to-nearest.js";
import { type SparsegptColumns, sparsegptPruneColumns } from "../../ops/sparsegpt-prune-columns.js";
import type { Tensor } from "../../tensor/index.js";
import { factorLadder, factorWarnings } from "../factor-ladder.js";
import {
  type LayerGram,
  checkLiveColumns,
  checkTokens,
  withGram,
  withGramSync,
} from "../layer-input.js";
import { type FactorAttempt, startMeasuring } from "../layer-report.js";
import type { QuantizeOptions } from "../options.js";
import { type PruneOptions, type PruneResult, countZeros, pruneErrors } from "../prune-report.js";
import { dequantizeLinear, quantizedLinear } from "../quantize-result.js";
import {
  type Sparsity,
  type SparsityOptions,
  resolveSparsity,
  sparsityWarnings,
  zerosOfRow,
} from "../sparsity.js";
import { rowMagnitude } from "./magnitude.js";

export interface SparseGptOptions extends PruneOptions, SparsityOptions {
  /** Columns whose weights are compared with each other; with a pattern it does not matter. Default 128. */
  readonly blockSize?: number | undefined;
  /**
   * Prune exactly floor(size * sparsity) weights of each block, of equal ones the first. False: everything up to and including
   * the next-smallest score and what ties with it, as the published code does. Default true.
   */
  readonly exactCount?: boolean | undefined;
  /** `[out, in]` bool: weights where it is 0 stay pruned, and count to the target. With `sparsity: 0` the mask is kept as it is. */
  readonly mask?: Tensor | undefined;
  /** Quantize the weights that stay, in the same sweep, on grids of the original weights. Defaults as in `gptq`, but `groupSize` -1. */
  readonly quantize?:
    Pick<QuantizeOptions, "bits" | "groupSize" | "sym" | "mse" | "scaleDtype"> | undefined;
  /** Fraction of mean(diag H) added to the diagonal. Default 0.01. */
  readonly dampPercent?: number | undefined;
  /** Turn every rescue (raised damping, other precision) into an error. Default false. */
  readonly strict?: boolean | undefined;
  /** What to do when no damping helps or there are no tokens: throw, or prune by magnitude within rows and say so. Default "error". */
  readonly onFailure?: "error" | "magnitude" | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface SparseGptResult extends PruneResult {
  /** With `quantize`: codes, scales and zeros; `weight` is what they stand for. The arrays are yours. */
  readonly quantized?: QuantizedLinear | undefined;
}

interface Resolved {
  readonly target: Sparsity;
  readonly blockSize: number;
  readonly exactCount: boolean;
  readonly mask: Tensor | undefined;
  readonly grid: GridOptions | undefined;
  readonly dampPercent: number;
  readonly strict: boolean;
  readonly onFailure: "error" | "magnitude";
  readonly report: "full" | "sampled" | "none";
  readonly name: string | undefined;
  readonly descAct: false;
}

/**
 * Prunes a linear layer by SparseGPT: columns in turn, what a pruned weight did is taken over by the columns after it through
 * the layer's inverse Hessian H = 2/N X^T X, so that the layer's output on the calibration data changes least. Which weights
 * go is decided by w^2 / [H^-1]_jj with the weights as they are by then.
 *
 * @param W `[out, in]` float32, finite, any strides. Not changed.
 * @param gram what the layer's inputs look like: an `InputGram` (its queue is waited for), or a matrix `[in, in]`, float32 or
 *   float64, symmetric positive semidefinite, any positive scale.
 * @param options `sparsity` (the same fraction of each block of columns, over all rows) or `pattern`; see `SparseGptOptions`.
 * @returns pruned and updated weight, mask and report, and codes with `quantize`; the caller disposes weight and mask.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError before any work; NumericalError `NON_FINITE`, `NO_TOKENS`,
 *   `NOT_POSITIVE_DEFINITE` (details.attempts); the signal's reason on abort.
 *
 * Cost: in^3/3 + out in^2 flops; 16 in^2 + 12 out in bytes at most.
 * Source: Frantar, Alistarh, "SparseGPT", 2023. We differ: no inverse is formed, exact counts (`exactCount`).
 *
 * @example
 * const { weight, mask, report } = await sparsegpt(W, gram, { pattern: "2:4" });
 * const small = await sparsegpt(W, gram, { sparsity: 0.5, quantize: { bits: 4 } });
 */
export async function sparsegpt(
  W: Tensor,
  gram: InputGram | Tensor,
  options: SparseGptOptions,
): Promise<SparseGptResult> {
  const fn = "sparsegpt";
  const resolved = resolve(fn, W, options);
  const measured = startMeasuring();
  return withGram(fn, W, gram, options, (taken) => task(fn, W, taken, resolved, measured));
}

/** Like `sparsegpt`, blocking. */
export function sparsegptSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<SparseGptOptions, "signal" | "onProgress">,
): SparseGptResult {
  const fn = "sparsegptSync";
  const resolved = resolve(fn, W, options);
  const measured = startMeasuring();
  return withGramSync(fn, W, gram, options, (taken) => task(fn, W, taken, resolved, measured));
}

function resolve(fn: string, W: Tensor, options: SparseGptOptions): Resolved {
  const resolved: Resolved = {
    target: resolveSparsity(fn, options),
    blockSize: options.blockSize ?? 128,
    exactCount: options.exactCount ?? true,
    mask: options.mask,
    grid: options.quantize && {
      bits: options.quantize.bits ?? 4,
      groupSize: options.quantize.groupSize ?? -1,
      sym: options.quantize.sym ?? true,
      mse: options.quantize.mse ?? false,
      scaleDtype: options.quantize.scaleDtype ?? "float16",
    },
    dampPercent: options.dampPercent ?? 0.01,
    strict: options.strict ?? false,
    onFailure: options.onFailure ?? "error",
    report: options.report ?? "sampled",
    name: options.name,
    descAct: false,
  };
  for (const name of ["exactCount", "strict"] as const) {
    if (typeof resolved[name] !== "boolean")
      throw new ArgumentError(expected(fn, "a boolean", name, resolved[name]));
  }
  if (!["error", "magnitude"].includes(resolved.onFailure))
    throw new ArgumentError(
      expected(fn, '"error" or "magnitude"', "onFailure", resolved.onFailure),
    );
  if (!(resolved.dampPercent >= 0 && resolved.dampPercent <= 1))
    throw new ArgumentError(
      expected(fn, "a number from 0 to 1", "dampPercent", resolved.dampPercent),
    );
  checkInteger(fn, "blockSize", resolved.blockSize, 1, Number.MAX_SAFE_INTEGER);
  if (resolved.grid) checkGrid(fn, resolved.grid);
  if (resolved.mask !== undefined) {
    checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
    checkTensor(fn, "mask", resolved.mask, ["bool"], W.shape);
  }
  return resolved;
}

type Measured = ReturnType<typeof startMeasuring>;

function* task(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  options: Resolved,
  measured: Measured,
): Task<SparseGptResult> {
  try {
    checkTokens(fn, gram, options.name);
    return yield* prune(fn, W, gram, options, measured);
  } catch (error) {
    const rescuable =
      error instanceof OsculateError && ["NOT_POSITIVE_DEFINITE", "NO_TOKENS"].includes(error.code);
    if (!rescuable || options.onFailure !== "magnitude") throw error;
    return yield* rescue(fn, W, error, gram, options, measured);
  }
}

function* prune(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  options: Resolved,
  measured: Measured,
): Task<SparseGptResult> {
  const { factor, attempts } = yield* factorLadder(fn, gram.matrix, options);
  const columns = W.shape[1] ?? 0;
  let pruned: SparsegptColumns | undefined;
  try {
    checkLiveColumns(fn, factor.deadColumns, columns, options.name);
    const { target, mask: held, ...rest } = options;
    pruned = yield* sparsegptPruneColumns(fn, W, factor, { ...rest, target, held });
    if (!Number.isFinite(pruned.loss)) {
      throw new NumericalError(
        "NON_FINITE",
        `${fn}: the loss is ${pruned.loss}: the weights or the matrix are too badly scaled for float32`,
      );
    }
    const baseline = () => byMagnitude(fn, W, options);
    const errors = yield* pruneErrors(fn, gram.matrix, W, pruned.weight, baseline, options.report);
    const tokens = gram.tokens ?? 0;
    return {
      weight: pruned.weight,
      mask: pruned.mask,
      quantized: options.grid && pruned.codes && quantizedLinear(W, options.grid, pruned.codes),
      report: {
        method: "sparsegpt",
        ...countZeros(target, W.size, pruned.zeros),
        ...errors,
        loss: pruned.loss,
        pruningLoss: pruned.pruningLoss,
        damping: factor.damping,
        attempts,
        deadColumns: factor.deadColumns,
        tokens,
        warnings: [
          ...sparsityWarnings(target, columns),
          ...factorWarnings(tokens, columns, factor.deadColumns, attempts),
        ],
        ...measured(),
      },
    };
  } catch (error) {
    pruned?.weight.dispose();
    pruned?.mask.dispose();
    throw error;
  } finally {
    factor.factor.dispose();
  }
}

/** The baseline: magnitude pruning within rows, rounded to nearest with `quantize`. */
function* byMagnitude(
  fn: string,
  W: Tensor,
  options: Resolved,
): Task<Pruned & { codes: Codes | undefined }> {
  const pruned = yield* rowMagnitude(fn, W, options.target);
  if (options.grid === undefined) return { ...pruned, codes: undefined };
  try {
    const codes = yield* roundToNearestTask(fn, pruned.weight, options.grid);
    const weight = dequantizeLinear(quantizedLinear(W, options.grid, codes), W.device);
    return { weight, mask: pruned.mask, codes };
  } catch (error) {
    pruned.mask.dispose();
    throw error;
  } finally {
    pruned.weight.dispose();
  }
}

/** Magnitude pruning because the caller asked for it on failure; the report says why. */
function* rescue(
  fn: string,
  W: Tensor,
  error: OsculateError,
  gram: LayerGram,
  options: Resolved,
  measured: Measured,
): Task<SparseGptResult> {
  if (options.mask !== undefined) throw error; // by magnitude alone, a mask would not be kept
  const { weight, mask, codes } = yield* byMagnitude(fn, W, options);
  const [out = 0, columns = 0] = W.shape;
  return {
    weight,
    mask,
    quantized: options.grid && codes && quantizedLinear(W, options.grid, codes),
    report: {
      method: "magnitude",
      ...countZeros(options.target, W.size, out * zerosOfRow(options.target, columns)),
      rows: "none",
      attempts: (error.details["attempts"] as FactorAttempt[] | undefined) ?? [],
      tokens: gram.tokens ?? 0,
      warnings: [`pruned by magnitude instead of sparsegpt: ${error.message}`],
      ...measured(),
    },
  };
}
