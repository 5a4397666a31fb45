import type { CallOptions } from "../../binding/index.js";
import type { BatchLoss, HutchinsonOptions } from "../../curvature/index.js";
import { ArgumentError, NumericalError, expected } from "../../errors.js";
import { type Parameter, parameterList } from "../../nn/parameter.js";
import { checkInteger } from "../../ops/check.js";
import { type Bits, type GridOptions, checkGrid } from "../../ops/quantization-grid.js";
import type { BitChoice, BitLayer } from "./allocate-bits.js";
import {
  type LayerCurvature,
  averageTraces,
  meanAndDeviation,
  topEigenvalues,
} from "./layer-curvature.js";
import { quantizationPerturbation } from "./perturbation.js";
import { type SensitivityCache, cachedSensitivities } from "./sensitivity-cache.js";

export interface SensitivityOptions
  extends
    CallOptions,
    Pick<HutchinsonOptions, "samples" | "tolerance" | "confidence" | "seed" | "batches"> {
  /**
   * "hawq": the top eigenvalue of the layer's Hessian; "hawq-v2" (default): its average trace, trace / weights; "q-bert": |mean| +
   * deviation of the top eigenvalues over the batches, each alone.
   */
  readonly method?: "hawq" | "hawq-v2" | "q-bert" | undefined;
  /** Widths to choose from. Default `[2, 3, 4, 8]`. */
  readonly bits?: readonly Bits[] | undefined;
  /** Columns per grid, -1: the row. Default 128. */
  readonly groupSize?: number | undefined;
  /**
   * Instead of `groupSize`: so many grids for a layer, each over neighbouring rows (of equal number, the last may have fewer), as
   * Q-BERT does.
   */
  readonly rowGroups?: number | undefined;
  /** Default true. */
  readonly sym?: boolean | undefined;
  /** Default false. */
  readonly mse?: boolean | undefined;
  /** Products of the power iteration for an eigenvalue at most. Default 100. */
  readonly maxIterations?: number | undefined;
  /** Keeps the result in a file and takes it from there when weights, options and `key` are the same. */
  readonly cache?: SensitivityCache | undefined;
}

export interface LayerSensitivity extends BitLayer, LayerCurvature {
  /** By bits: `cost` is `|curvature| * perturbation`. */
  readonly choices: readonly (BitChoice & {
    /** `||Q(W) - W||^2`, rounded to nearest. */
    readonly perturbation: number;
  })[];
}

export interface Sensitivities {
  readonly layers: readonly LayerSensitivity[];
  /** Layers whose curvature is negative (its magnitude was used) or did not settle. */
  readonly warnings: readonly string[];
  /** Taken from the cache. */
  readonly cached: boolean;
}

/**
 * How much a loss changes when a layer is quantized, for each layer and width: the curvature of its weights times what rounding
 * does to them. Sums for `allocateBits`.
 *
 * @param loss one element for each batch; called several times, it must return the same values (batch norm and dropout in use:
 *   `model.train(false)`).
 * @param layers float32 weights of two or more dimensions, the first are the outputs.
 * @throws NumericalError `NON_FINITE` (details.name) when a curvature or a weight is NaN or infinite; ShapeError, ArgumentError,
 *   `ABORTED`; FormatError when the cache's file is something else.
 * Cost: about three gradients a sample and batch ("hawq-v2", all layers at once), or a product and layer ("hawq", "q-bert").
 * Sources: Dong et al., "HAWQ", 2019, and "HAWQ-V2", 2020; Shen et al., "Q-BERT", 2020.
 *
 * @example
 * const { layers } = await layerSensitivities(loss, weights, { method: "hawq-v2", bits: [2, 4, 8] });
 * const { byName } = allocateBits(layers, { averageBits: 4 });
 */
export async function layerSensitivities(
  loss: BatchLoss,
  layers: Iterable<Parameter>,
  options: SensitivityOptions = {},
): Promise<Sensitivities> {
  const fn = "layerSensitivities";
  const list = parameterList(fn, layers);
  const { method = "hawq-v2", bits = [2, 3, 4, 8], rowGroups, batches = 1 } = options;
  if (!["hawq", "hawq-v2", "q-bert"].includes(method))
    throw new ArgumentError(expected(fn, '"hawq", "hawq-v2" or "q-bert"', "method", method));
  if (method === "q-bert" && batches < 2)
    throw new ArgumentError(expected(fn, "2 or more, for a deviation,", "batches", batches));
  if (rowGroups !== undefined) {
    checkInteger(fn, "rowGroups", rowGroups, 1, Number.MAX_SAFE_INTEGER);
    if (options.groupSize !== undefined)
      throw new ArgumentError(`${fn}: expected groupSize or rowGroups but received both`);
  }
  if (bits.length === 0) throw new ArgumentError(expected(fn, "at least one width", "bits", bits));
  const grids = bits.map((width): GridOptions => ({
    bits: width,
    groupSize: rowGroups === undefined ? (options.groupSize ?? 128) : -1,
    sym: options.sym ?? true,
    mse: options.mse ?? false,
    scaleDtype: "float16",
  }));
  for (const grid of grids) checkGrid(fn, grid);
  for (const { name, tensor } of list)
    if (tensor.rank < 2)
      throw new ArgumentError(expected(fn, "two or more dimensions", name, tensor.shape));

  const measure = async (): Promise<LayerSensitivity[]> => {
    // The cheap part first: it finds weights that are not finite.
    const perturbations: number[][] = [];
    for (const { name, tensor } of list) {
      const row: number[] = [];
      for (const grid of grids)
        row.push(await quantizationPerturbation(fn, name, tensor, grid, rowGroups, options.signal));
      perturbations.push(row);
    }
    const curvatures = await curvaturesOf(fn, method, loss, list, options);
    return list.map(({ name, tensor }, i) => {
      const curvature = curvatures[i] ?? { curvature: Number.NaN };
      if (!Number.isFinite(curvature.curvature))
        throw new NumericalError(
          "NON_FINITE",
          expected(fn, "a finite number", `the curvature of ${name}`, curvature.curvature),
          { details: { name } },
        );
      const choices = bits.map((width, b) => {
        const perturbation = perturbations[i]?.[b] ?? Number.NaN;
        const cost = Math.abs(curvature.curvature) * perturbation;
        return { bits: width, cost, perturbation };
      });
      return { name, weights: tensor.size, ...curvature, choices };
    });
  };
  const settings = { method, grids, rowGroups, batches, ...numbersOf(options) };
  const { layers: found, cached } = await cachedSensitivities(
    fn,
    options.cache,
    list,
    settings,
    measure,
  );
  const warnings = found.flatMap(({ name, curvature, converged }) => [
    ...(curvature < 0
      ? [
          `${name}: curvature ${curvature.toPrecision(3)} is negative: the model is not at a minimum; its magnitude is used`,
        ]
      : []),
    ...(converged === false ? [`${name}: the top eigenvalue did not settle`] : []),
  ]);
  return { layers: found, warnings, cached };
}

/** What else the result depends on. */
function numbersOf(options: SensitivityOptions): Record<string, number | undefined> {
  const { samples, tolerance, confidence, seed, maxIterations } = options;
  return { samples, tolerance, confidence, seed, maxIterations };
}

async function curvaturesOf(
  fn: string,
  method: NonNullable<SensitivityOptions["method"]>,
  loss: BatchLoss,
  list: readonly Parameter[],
  options: SensitivityOptions,
): Promise<LayerCurvature[]> {
  if (method === "hawq-v2") return averageTraces(loss, list, options);
  const { batches = 1 } = options;
  if (method === "hawq") return topEigenvalues(fn, loss, list, { ...options, batches });
  const subsets: LayerCurvature[][] = [];
  for (let k = 0; k < batches; ++k) {
    const one = await topEigenvalues(fn, () => loss(k), list, { ...options, batches: 1 });
    subsets.push(one);
  }
  return list.map((_, i) => {
    const of = subsets.map((subset) => subset[i]);
    const { mean, deviation } = meanAndDeviation(of.map((one) => one?.curvature ?? Number.NaN));
    return {
      curvature: Math.abs(mean) + deviation,
      mean,
      deviation,
      converged: of.every((one) => one?.converged === true),
    };
  });
}
