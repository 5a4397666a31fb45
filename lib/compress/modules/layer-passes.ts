import type { InputGram } from "../../curvature/index.js";
import type { QuantizedLinear } from "../../formats/index.js";
import type { Tensor } from "../../tensor/index.js";
import { gptq } from "../gptq.js";
import type { FactorAttempt } from "../layer-report.js";
import { magnitude } from "../passes/magnitude.js";
import { sparsegpt } from "../passes/sparsegpt.js";
import { wanda } from "../passes/wanda.js";
import type { PruneReport, PruneResult } from "../prune-report.js";
import type { QuantizeResult } from "../quantize-result.js";
import { roundToNearest } from "../round-to-nearest.js";

/** Options of all passes; each takes some. Their meanings and defaults are those of `gptq` and `sparsegpt`. */
export interface LayerPassOptions {
  readonly bits?: 2 | 3 | 4 | 8 | undefined;
  readonly groupSize?: number | undefined;
  readonly sym?: boolean | undefined;
  readonly mse?: boolean | undefined;
  readonly scaleDtype?: "float16" | "float32" | undefined;
  readonly descAct?: boolean | undefined;
  readonly staticGroups?: boolean | undefined;
  readonly dampPercent?: number | undefined;
  readonly blockSize?: number | undefined;
  readonly strict?: boolean | undefined;
  /** Fraction of the weights that become zero. */
  readonly sparsity?: number | undefined;
  /** "2:4": 2 zeros in every 4 consecutive inputs. */
  readonly pattern?: string | undefined;
}

/** What a pass says of a layer it worked on. */
export interface PassReport {
  /** The method whose weights these are. */
  readonly method: string;
  /** Change of the layer's output on the calibration data, `tr(D H D^T) / tr(W H W^T)`. */
  readonly relativeError: number | undefined;
  /** The same for the plain method of the same budget: rounding to nearest, or magnitude within rows. */
  readonly baselineRelativeError: number | undefined;
  /** Added to the diagonal of the statistic, absolute; 0 for methods that factorize none. */
  readonly damping: number;
  readonly attempts: readonly FactorAttempt[];
  readonly milliseconds: number;
  readonly peakBytes: number;
  readonly warnings: readonly string[];
}

/** The new weights of a layer; the caller disposes the tensors. */
export interface PassResult {
  readonly weight: Tensor<"float32">;
  /** Where weights were kept, of pruners. */
  readonly mask?: Tensor | undefined;
  /** Codes, of quantizers. */
  readonly quantized?: QuantizedLinear | undefined;
  readonly report: PassReport;
}

export interface PassInput {
  /** `[out, in]` float32 */
  readonly weight: Tensor;
  readonly gram: InputGram;
  readonly options: LayerPassOptions;
  readonly name: string;
  readonly signal: AbortSignal | undefined;
}

/** A method of compressing one layer. */
export interface LayerPass {
  /** Options it takes. */
  readonly takes: readonly (keyof LayerPassOptions)[];
  /** What it aims at; one of them must be given. */
  readonly targets: readonly ("bits" | "sparsity" | "pattern")[];
  readonly run: (input: PassInput) => Promise<PassResult>;
}

function quantizedResult(q: QuantizeResult, device: Tensor["device"]): PassResult {
  const { report } = q;
  using weight = q.dequantize();
  return {
    weight: weight.to(device),
    quantized: q,
    report: {
      method: report.method,
      relativeError: report.relativeError,
      baselineRelativeError: report.rtnRelativeError,
      damping: report.damping,
      attempts: report.attempts,
      milliseconds: report.milliseconds,
      peakBytes: report.peakBytes,
      warnings: report.warnings,
    },
  };
}

function prunedResult(
  pruned: PruneResult & { quantized?: QuantizedLinear | undefined },
): PassResult {
  const { weight, mask, quantized } = pruned;
  const report: PruneReport = pruned.report;
  return {
    weight,
    mask,
    quantized,
    report: {
      method: report.method,
      relativeError: report.relativeError,
      baselineRelativeError: report.magnitudeRelativeError,
      damping: report.damping ?? 0,
      attempts: report.attempts ?? [],
      milliseconds: report.milliseconds,
      peakBytes: report.peakBytes,
      warnings: report.warnings,
    },
  };
}

const grid = ["bits", "groupSize", "sym", "mse", "scaleDtype"] as const;

/** Every method by its name in recipes. A new one is a row here and a row in test/compress/modules/passes.test.ts. */
export const layerPasses = {
  rtn: {
    takes: grid,
    targets: ["bits"],
    run: async ({ weight, gram, options, name, signal }) =>
      quantizedResult(
        await roundToNearest(weight, { ...options, gram, name, signal }),
        weight.device,
      ),
  },
  gptq: {
    takes: [...grid, "descAct", "staticGroups", "dampPercent", "blockSize", "strict"],
    targets: ["bits"],
    run: async ({ weight, gram, options, name, signal }) =>
      quantizedResult(await gptq(weight, gram, { ...options, name, signal }), weight.device),
  },
  magnitude: {
    takes: ["sparsity", "pattern"],
    targets: ["sparsity", "pattern"],
    run: async ({ weight, options: { sparsity, pattern }, name, signal }) =>
      prunedResult(await magnitude(weight, { sparsity, pattern, name, signal })),
  },
  wanda: {
    takes: ["sparsity", "pattern"],
    targets: ["sparsity", "pattern"],
    run: async ({ weight, gram, options: { sparsity, pattern }, name, signal }) =>
      prunedResult(await wanda(weight, gram, { sparsity, pattern, name, signal })),
  },
  sparsegpt: {
    takes: ["sparsity", "pattern", ...grid, "dampPercent", "blockSize", "strict"],
    targets: ["sparsity", "pattern"],
    run: async ({ weight, gram, options, name, signal }) => {
      const { sparsity, pattern, dampPercent, blockSize, strict } = options;
      const quantize = options.bits === undefined ? undefined : options;
      return prunedResult(
        await sparsegpt(weight, gram, {
          ...{ sparsity, pattern, dampPercent, blockSize, strict, quantize, name, signal },
        }),
      );
    },
  },
} as const satisfies Readonly<Record<string, LayerPass>>;

export type LayerMethod = keyof typeof layerPasses;
