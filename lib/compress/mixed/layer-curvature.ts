import { type BatchLoss, hutchinsonTrace, type HutchinsonOptions } from "../../curvature/index.js";
import { checkBatches, hessianProducts } from "../../curvature/hessian-operator.js";
import { abortError } from "../../errors.js";
import { powerIteration } from "../../linalg/index.js";
import type { Parameter } from "../../nn/parameter.js";

/** The curvature of a loss in the weights of one layer. */
export interface LayerCurvature {
  readonly curvature: number;
  /** Of an estimated trace of two samples or more: the standard error of `curvature`. */
  readonly standardError?: number | undefined;
  /** Of an eigenvalue: whether power iteration settled. */
  readonly converged?: boolean | undefined;
  /** Q-BERT: the mean and the (population) deviation over the batches. */
  readonly mean?: number | undefined;
  readonly deviation?: number | undefined;
}

/** trace / weights of each layer's block of the Hessian, by one Hutchinson estimate for all. */
export async function averageTraces(
  loss: BatchLoss,
  list: readonly Parameter[],
  options: HutchinsonOptions,
): Promise<LayerCurvature[]> {
  const { parameters } = await hutchinsonTrace(loss, list, options);
  return parameters.map(({ value, standardError, size }) => ({
    curvature: value / size,
    ...(Number.isFinite(standardError) ? { standardError: standardError / size } : {}),
  }));
}

export interface EigenvalueOptions {
  readonly batches: number;
  readonly maxIterations?: number | undefined;
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

/** The eigenvalue of largest magnitude of each layer's block of the Hessian. */
export async function topEigenvalues(
  fn: string,
  loss: BatchLoss,
  list: readonly Parameter[],
  options: EigenvalueOptions,
): Promise<LayerCurvature[]> {
  const { maxIterations, seed, signal, onProgress } = options;
  const batches = checkBatches(fn, options.batches);
  const found: LayerCurvature[] = [];
  for (const parameter of list) {
    if (signal?.aborted) throw abortError(fn, signal);
    const { shape, size, device } = parameter.tensor;
    const { values, converged, vectors } = await powerIteration(
      (x) => {
        using vector = x.reshape(shape);
        const [product] = hessianProducts(loss, [parameter], [vector], batches);
        using hv = product;
        using dense = hv?.contiguous();
        return (dense ?? x).reshape([size]);
      },
      { size, device, maxIterations, seed, signal },
    );
    vectors.dispose();
    found.push({ curvature: values[0] ?? Number.NaN, converged: converged[0] });
    onProgress?.({ done: found.length, total: list.length });
  }
  return found;
}

/** Of numbers: their mean and the square root of their mean squared difference from it. */
export function meanAndDeviation(values: readonly number[]): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / values.length) };
}
