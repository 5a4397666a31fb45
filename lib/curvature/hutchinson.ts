import { scale, sqrt } from "../autodiff/index.js";
import type { CallOptions } from "../binding/index.js";
import { abortError } from "../errors.js";
import { type Parameter, parameterList } from "../nn/parameter.js";
import { checkInteger } from "../ops/check.js";
import { hutchinsonAccumulate } from "../ops/hutchinson.js";
import { Tensor } from "../tensor/index.js";
import { RunningMean, stoppingTest, type Estimate, type StoppingRule } from "./estimate.js";
import {
  checkBatches,
  hessianProducts,
  type BatchLoss,
  type OverBatches,
} from "./hessian-operator.js";
import { rademacherProbes } from "./probes.js";

export interface HutchinsonOptions extends CallOptions, OverBatches, StoppingRule {
  /** Most products with the Hessian. Default 100. */
  readonly samples?: number | undefined;
  /** Of the probes: the same seed draws the same signs on every device. Default 0. */
  readonly seed?: number | undefined;
}

/** The trace of the diagonal block of one parameter. */
export interface ParameterTrace extends Estimate {
  readonly name: string;
  readonly size: number;
}

export interface TraceEstimate extends Estimate {
  /** Products with the Hessian that were taken. */
  readonly samples: number;
  readonly parameters: readonly ParameterTrace[];
  /** The trace of a module: of all parameters whose name is `path` or begins with `path.`. */
  module(path: string): Estimate;
}

export interface DiagonalEstimate extends TraceEstimate {
  /** The diagonal, one tensor shaped like each parameter; the caller disposes them. */
  readonly diagonals: readonly Tensor[];
  /** Standard error of each element, likewise. NaN for a single sample. */
  readonly standardErrors: readonly Tensor[];
  dispose(): void;
}

interface Statistics {
  readonly mean: Tensor;
  readonly m2: Tensor;
}

/** Samples z^T H z, and z o H z into `statistics` where they are given, until the rule or the count says stop. */
async function sampleHessian(
  fn: string,
  loss: BatchLoss,
  list: readonly Parameter[],
  options: HutchinsonOptions,
  statistics: readonly Statistics[] | undefined,
): Promise<TraceEstimate> {
  const { samples = 100, seed = 0, signal, onProgress } = options;
  checkInteger(fn, "samples", samples, 1, Number.MAX_SAFE_INTEGER);
  checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  const batches = checkBatches(fn, options.batches);
  const enough = stoppingTest(fn, options);
  const total = new RunningMean();
  const rows = list.map(() => [] as number[]);
  for (let k = 0; k < samples && !enough(total); ++k) {
    if (signal?.aborted) throw abortError(fn, signal);
    const traces = await oneSample(loss, list, batches, { seed, step: k }, statistics);
    traces.forEach((trace, i) => rows[i]?.push(trace));
    total.add(traces.reduce((sum, trace) => sum + trace, 0));
    onProgress?.({ done: k + 1, total: samples });
  }
  const meanOf = (picked: readonly (readonly number[])[]): Estimate => {
    const mean = new RunningMean();
    for (let k = 0; k < total.count; ++k)
      mean.add(picked.reduce((sum, row) => sum + (row[k] ?? Number.NaN), 0));
    return mean.estimate;
  };
  return {
    ...total.estimate,
    samples: total.count,
    parameters: list.map(({ name, tensor }, i) => ({
      name,
      size: tensor.size,
      ...meanOf(rows.slice(i, i + 1)),
    })),
    module: (path) =>
      meanOf(rows.filter((_, i) => list[i]?.name === path || list[i]?.name.startsWith(`${path}.`))),
  };
}

/** One probe over all parameters at once, read off block by block. */
async function oneSample(
  loss: BatchLoss,
  list: readonly Parameter[],
  batches: number,
  key: { seed: number; step: number },
  statistics: readonly Statistics[] | undefined,
): Promise<number[]> {
  const probes = rademacherProbes(
    list.map(({ tensor }) => tensor),
    key,
  );
  const signs = probes.map((probe) => probe.signs);
  let products: Tensor[];
  try {
    products = hessianProducts(loss, list, signs, batches);
  } finally {
    for (const sign of signs) sign.dispose();
  }
  try {
    return await Promise.all(
      products.map(async (product, i) => {
        using hv = product.contiguous();
        return await hutchinsonAccumulate(hv, statistics?.[i] ?? {}, {
          probe: probes[i]?.key,
          count: key.step,
        });
      }),
    );
  } finally {
    for (const product of products) product.dispose();
  }
}

/**
 * The trace of the Hessian of a loss by Hutchinson's estimate, the mean of `z^T H z` over random signs z: for the whole model,
 * each parameter's own block and every module.
 *
 * @param loss one element for each batch; called several times, it must return the same values.
 * @param params float32 tensors that the loss is computed from.
 * @returns unbiased, with the standard error. `tolerance` and `confidence` stop early, e.g. 0.02 and 0.95.
 * @throws NumericalError (`NON_FINITE`), ArgumentError, `ABORTED`
 * Cost: about three gradients a sample and batch. Source: Hutchinson, 1990; Dong et al., HAWQ-V2, 2020.
 *
 * @example
 * const { value, standardError } = await hutchinsonTrace(() => loss(x, y), model.parameters(), { tolerance: 0.02 });
 */
export async function hutchinsonTrace(
  loss: BatchLoss,
  params: Iterable<Parameter>,
  options: HutchinsonOptions = {},
): Promise<TraceEstimate> {
  const fn = "hutchinsonTrace";
  return sampleHessian(fn, loss, parameterList(fn, params), options, undefined);
}

/**
 * The diagonal of the Hessian of a loss, the mean of `z o H z` over random signs z, and with it the trace. `tolerance` is about
 * the trace. Otherwise as `hutchinsonTrace`.
 */
export async function hutchinsonDiagonal(
  loss: BatchLoss,
  params: Iterable<Parameter>,
  options: HutchinsonOptions = {},
): Promise<DiagonalEstimate> {
  const fn = "hutchinsonDiagonal";
  const list = parameterList(fn, params);
  const zeros = ({ tensor }: Parameter) => Tensor.zeros(tensor.shape, { device: tensor.device });
  const statistics = list.map((parameter) => ({ mean: zeros(parameter), m2: zeros(parameter) }));
  const disposeAll = () => {
    for (const { mean, m2 } of statistics) for (const tensor of [mean, m2]) tensor.dispose();
  };
  try {
    const trace = await sampleHessian(fn, loss, list, options, statistics);
    const count = trace.samples;
    const standardErrors = statistics.map(({ m2 }) => standardError(m2, count));
    for (const { m2 } of statistics) m2.dispose();
    return {
      ...trace,
      diagonals: statistics.map(({ mean }) => mean),
      standardErrors,
      dispose: () => {
        disposeAll();
        for (const tensor of standardErrors) tensor.dispose();
      },
    };
  } catch (error) {
    disposeAll();
    throw error;
  }
}

/** sqrt(m2 / (k (k - 1))): NaN for one sample. */
function standardError(m2: Tensor, count: number): Tensor {
  using variance = scale(m2, count > 1 ? 1 / (count * (count - 1)) : Number.NaN);
  return sqrt(variance);
}
