import type { Task } from "../../binding/index.js";
import type { InputGram } from "../../curvature/index.js";
import { ArgumentError, expected } from "../../errors.js";
import { checkTensor } from "../../ops/check.js";
import { type ObsLayer, obcPruneRows, obqQuantizeRows, obsRefitRows } from "../../ops/obs-rows.js";
import type { Tensor } from "../../tensor/index.js";
import { factorLadder, factorWarnings } from "../factor-ladder.js";
import {
  type LayerGram,
  checkLiveColumns,
  checkTokens,
  withGram,
  withGramSync,
} from "../layer-input.js";
import {
  type FactorAttempt,
  type LayerReport,
  quantizeErrors,
  startMeasuring,
} from "../layer-report.js";
import { type QuantizeOptions, type ResolvedQuantize, resolveQuantize } from "../options.js";
import { type PruneOptions, type PruneResult, countZeros, pruneErrors } from "../prune-report.js";
import { type QuantizeResult, quantizeResult } from "../quantize-result.js";
import {
  type Sparsity,
  type SparsityOptions,
  resolveSparsity,
  sparsityWarnings,
  zerosOf,
  zerosOfRow,
} from "../sparsity.js";
import { rowMagnitude } from "./magnitude.js";

/** Options of the reference methods. */
export interface ObsDamping {
  /** Fraction of mean(diag H) added to the diagonal. Default 0.01. */
  readonly dampPercent?: number | undefined;
  /** Turn every rescue (raised damping) into an error. Default false. */
  readonly strict?: boolean | undefined;
}

export interface ObsOptions extends PruneOptions, ObsDamping {
  /** `[out, in]` bool, 1 where a weight stays. */
  readonly mask: Tensor;
}

/**
 * Optimal Brain Surgeon for a given mask: removes its weights and moves the others to where the layer's output on the
 * calibration data changes least, `w_K + H_KK^-1 H_KS w_S`, exactly. What any other update of the same mask is measured by.
 *
 * @param W `[out, in]` float32, finite. Not changed.
 * @param gram an `InputGram`, or a matrix `[in, in]`, symmetric positive semidefinite.
 * @returns weight, the mask (a copy) and report; the caller disposes both tensors.
 * @throws as `sparsegpt`.
 * Cost: in^3/3 flops a row in float64: for layers of up to some 1000 columns.
 * Source: Hassibi, Stork, "Optimal Brain Surgeon", 1993.
 */
export async function obs(
  W: Tensor,
  gram: InputGram | Tensor,
  options: ObsOptions,
): Promise<PruneResult> {
  return withGram("obs", W, gram, options, refit("obs", W, options));
}

/** Like `obs`, blocking. */
export function obsSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<ObsOptions, "signal">,
): PruneResult {
  return withGramSync("obsSync", W, gram, options, refit("obsSync", W, options));
}

export type ObcOptions = PruneOptions & ObsDamping & SparsityOptions;

/**
 * Optimal Brain Compression, pruning: again and again removes the weight whose removal costs least, and answers it exactly
 * with all weights of its row that are left. The reference that SparseGPT approximates.
 *
 * @param W `[out, in]` float32, finite. Not changed.
 * @param gram an `InputGram`, or a matrix `[in, in]`, symmetric positive semidefinite.
 * @param options `sparsity` (of the whole layer: rows that matter less lose more) or `pattern`.
 * @returns pruned and updated weight, mask and report; the caller disposes weight and mask.
 * @throws as `sparsegpt`.
 * Cost: in^3 flops a row in float64, twice with `sparsity`; 8 in^2 bytes a thread: for layers of up to some 1000 columns.
 * Source: Frantar, Singh, Alistarh, "Optimal Brain Compression", 2022 (ExactOBS).
 */
export async function obc(
  W: Tensor,
  gram: InputGram | Tensor,
  options: ObcOptions,
): Promise<PruneResult> {
  return withGram("obc", W, gram, options, remove("obc", W, options));
}

/** Like `obc`, blocking. */
export function obcSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<ObcOptions, "signal">,
): PruneResult {
  return withGramSync("obcSync", W, gram, options, remove("obcSync", W, options));
}

export type ObqOptions = QuantizeOptions & ObsDamping;

/**
 * Optimal Brain Compression, quantization: again and again rounds the weight whose rounding costs least, and answers it
 * exactly with all weights of its row that are left. The reference that GPTQ approximates.
 *
 * @param W `[out, in]` float32, finite. Not changed.
 * @param gram an `InputGram`, or a matrix `[in, in]`, symmetric positive semidefinite.
 * @param options see `QuantizeOptions`; grids are those of the original weights.
 * @returns a `QuantizedLinear` with `dequantize()` and `report`; the arrays are yours.
 * @throws as `gptq`.
 * Cost: in^3 flops a row in float64; 8 in^2 bytes a thread: for layers of up to some 1000 columns.
 * Source: Frantar, Singh, Alistarh, "Optimal Brain Compression", 2022 (OBQ).
 */
export async function obq(
  W: Tensor,
  gram: InputGram | Tensor,
  options: ObqOptions = {},
): Promise<QuantizeResult> {
  return withGram("obq", W, gram, options, quantize("obq", W, options));
}

/** Like `obq`, blocking. */
export function obqSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<ObqOptions, "signal" | "onProgress"> = {},
): QuantizeResult {
  return withGramSync("obqSync", W, gram, options, quantize("obqSync", W, options));
}

interface Damped {
  readonly layer: ObsLayer;
  readonly attempts: FactorAttempt[];
  readonly deadColumns: number;
  readonly warnings: string[];
}

/** Finds the damping at which the matrix is positive definite, as the other methods do. */
function* damp(
  fn: string,
  W: Tensor,
  gram: LayerGram,
  options: ObsDamping & { readonly name?: string | undefined },
): Task<Damped> {
  checkTokens(fn, gram, options.name);
  const { factor, attempts } = yield* factorLadder(fn, gram.matrix, {
    dampPercent: options.dampPercent ?? 0.01,
    strict: options.strict ?? false,
    descAct: false,
    name: options.name,
  });
  factor.factor.dispose();
  const columns = W.shape[1] ?? 0;
  checkLiveColumns(fn, factor.deadColumns, columns, options.name);
  return {
    layer: { gram: gram.matrix, weight: W, damping: factor.damping },
    attempts,
    deadColumns: factor.deadColumns,
    warnings: factorWarnings(gram.tokens ?? 0, columns, factor.deadColumns, attempts),
  };
}

function checkDamping(fn: string, { dampPercent = 0.01, strict = false }: ObsDamping): void {
  if (!(dampPercent >= 0 && dampPercent <= 1))
    throw new ArgumentError(expected(fn, "a number from 0 to 1", "dampPercent", dampPercent));
  if (typeof strict !== "boolean")
    throw new ArgumentError(expected(fn, "a boolean", "strict", strict));
}

function refit(fn: string, W: Tensor, options: ObsOptions) {
  checkDamping(fn, options);
  checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
  checkTensor(fn, "mask", options.mask, ["bool"], W.shape);
  const measured = startMeasuring();
  return function* pass(gram: LayerGram): Task<PruneResult> {
    const damped = yield* damp(fn, W, gram, options);
    const { weight, loss, zeros } = yield* obsRefitRows(fn, damped.layer, options.mask);
    const mask = options.mask.toDType("bool");
    return {
      weight,
      mask,
      report: {
        method: "obs",
        target: "a mask",
        zeros,
        sparsity: W.size === 0 ? 0 : zeros / W.size,
        rows: "none",
        ...lossFacts(loss, damped),
        tokens: gram.tokens ?? 0,
        warnings: damped.warnings,
        ...measured(),
      },
    };
  };
}

function remove(fn: string, W: Tensor, options: ObcOptions) {
  checkDamping(fn, options);
  const target = resolveSparsity(fn, options);
  const measured = startMeasuring();
  return function* pass(gram: LayerGram): Task<PruneResult> {
    const damped = yield* damp(fn, W, gram, options);
    const [out = 0, columns = 0] = W.shape;
    const zeros =
      target.kind === "fraction"
        ? zerosOf(W.size, target.fraction)
        : out * zerosOfRow(target, columns);
    const pruned = yield* obcPruneRows(fn, damped.layer, layerZeros(target, zeros));
    try {
      const baseline = () => rowMagnitude(fn, W, target);
      const { report = "sampled" } = options;
      return {
        weight: pruned.weight,
        mask: pruned.mask,
        report: {
          method: "obc",
          ...countZeros(target, W.size, zeros),
          ...(yield* pruneErrors(fn, gram.matrix, W, pruned.weight, baseline, report)),
          ...lossFacts(pruned.loss, damped),
          tokens: gram.tokens ?? 0,
          warnings: [...sparsityWarnings(target, columns), ...damped.warnings],
          ...measured(),
        },
      };
    } catch (error) {
      pruned.weight.dispose();
      pruned.mask.dispose();
      throw error;
    }
  };
}

function layerZeros(target: Sparsity, zeros: number): { zeros: number } | { n: number; m: number } {
  return target.kind === "pattern" ? { n: target.n, m: target.m } : { zeros };
}

function lossFacts(loss: number, { layer, attempts, deadColumns }: Damped) {
  return { loss, pruningLoss: loss, damping: layer.damping, attempts, deadColumns };
}

function quantize(fn: string, W: Tensor, options: ObqOptions) {
  checkDamping(fn, options);
  const resolved: ResolvedQuantize = resolveQuantize(fn, options);
  const measured = startMeasuring();
  return function* pass(gram: LayerGram): Task<QuantizeResult> {
    const damped = yield* damp(fn, W, gram, options);
    const { loss, ...codes } = yield* obqQuantizeRows(fn, damped.layer, {
      ...resolved,
      greedy: true,
    });
    const report: LayerReport = {
      method: "obq",
      loss,
      ...(yield* quantizeErrors(fn, gram.matrix, W, codes, resolved)),
      damping: damped.layer.damping,
      attempts: damped.attempts,
      deadColumns: damped.deadColumns,
      tokens: gram.tokens ?? 0,
      warnings: damped.warnings,
      ...measured(),
    };
    return quantizeResult(W, resolved, codes, report);
  };
}
