/** What a quantization job takes, says while it runs, and returns. */
import type { Device } from "../binding/index.js";
import type { LayerOp } from "../graph/layers.js";
import type { SampleSource } from "../graph/samples.js";
import type { FactorAttempt, LayerReport } from "./layer-report.js";
import type { PartialLayerOptions, Recipe, Rule } from "./recipe.js";

export interface QuantizeOnnxOptions extends PartialLayerOptions {
  /** Path of the ONNX file. */
  readonly model: string;
  /** Path of the file to write; beside it come `OUT.manifest.json` and, when needed, `OUT.data`. */
  readonly output: string;
  /**
   * Path of a .npz or .safetensors file, of a folder of these, or of a JavaScript module; or batches
   * `{ inputName: { data, dims } }` themselves. Needed by "gptq"; with "rtn" it only measures the errors.
   */
  readonly calibration?: SampleSource | undefined;
  /** Samples per batch for files; default: see `readSamples`. */
  readonly batchSize?: number | undefined;
  /** Path of a YAML or JSON file, or the recipe itself. The options beside it override its top-level ones. */
  readonly recipe?: string | Recipe | readonly Rule[] | undefined;
  /** Calibrate each layer on what the already quantized part produces. Default false: one pass. */
  readonly trueSequential?: boolean | undefined;
  /** Turn every rescue (raised damping, other precision) into an error. Default false. */
  readonly strict?: boolean | undefined;
  /** What to do with a layer that no damping helps. Default "error". */
  readonly fallback?: "error" | "rtn" | undefined;
  /** Replace an existing output, and forget an interrupted run. Default false. */
  readonly overwrite?: boolean | undefined;
  /** Go on with an interrupted run, when there is one. Default false. */
  readonly resume?: boolean | undefined;
  /** Rows that the error of a layer is computed from. Default "sampled" (256 rows). */
  readonly report?: "full" | "sampled" | "none" | undefined;
  /** Default "cpu". */
  readonly device?: Device | undefined;
  /** Threads of onnxruntime. Default: all processors. An interrupted run goes on with what it began with. */
  readonly threads?: number | undefined;
  /** An abort answers within 100 ms with code "ABORTED"; finished layers stay for `resume`. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: JobEvent) => void) | undefined;
}

/** What happened to one layer. */
export interface LayerRow {
  readonly name: string;
  readonly op: LayerOp;
  /** Weight rows (output features) and columns (input features of a group). */
  readonly rows: number;
  readonly columns: number;
  /** Groups of a convolution, else 1. */
  readonly groups: number;
  readonly parameters: number;
  readonly status: "quantized" | "kept";
  /** Why it was kept. */
  readonly reason?: string;
  /** Number of the rule that decided, from 0. */
  readonly rule?: number;
  /** The method asked for; `report.method` is the one whose codes these are. */
  readonly method: "gptq" | "rtn";
  readonly bits: number;
  readonly groupSize: number;
  readonly sym: boolean;
  readonly descAct: boolean;
  readonly staticGroups: boolean;
  readonly mse: boolean;
  /** Of the weight in float32, and of codes, scales and zeros as stored. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly report?: LayerSummary;
  /** True when an earlier, interrupted run did it. */
  readonly resumed: boolean;
}

/** The report of a whole layer: of its convolution groups together, where it has several. */
export interface LayerSummary {
  readonly method: LayerReport["method"] | "mixed";
  readonly rows: "full" | "sampled" | "none";
  readonly loss?: number;
  /** `tr(D H D^T) / tr(W H W^T)`, D = W - Q, on the calibration data. */
  readonly relativeError?: number;
  /** The same for round-to-nearest on the same grid. */
  readonly rtnRelativeError?: number;
  /** `||W - Q||^2 / ||W||^2`. */
  readonly weightError: number;
  /** The largest damping of its groups, absolute, and as a fraction. */
  readonly damping: number;
  readonly dampPercent?: number;
  /** The longest list of its groups. */
  readonly attempts: readonly FactorAttempt[];
  readonly deadColumns: number;
  readonly tokens: number;
  readonly milliseconds: number;
  readonly peakBytes: number;
  readonly warnings: readonly string[];
  /** What saved the layer, in words; absent when nothing had to. */
  readonly rescued?: string;
}

export type JobEvent =
  | {
      readonly type: "plan";
      /** Layers to quantize, and how many of them an interrupted run has done. */
      readonly layers: number;
      readonly resumed: number;
      readonly kept: number;
      readonly parameters: number;
    }
  | { readonly type: "calibration"; readonly batches: number; readonly done: boolean }
  | {
      readonly type: "layer-start";
      readonly index: number;
      readonly total: number;
      readonly name: string;
    }
  | {
      readonly type: "layer";
      /** Counts from 1. */
      readonly index: number;
      readonly total: number;
      readonly row: LayerRow;
      /** Seconds until the last layer is done; undefined when nothing is known yet. */
      readonly etaSeconds: number | undefined;
    }
  | { readonly type: "check"; readonly check: OutputCheck }
  | { readonly type: "warning"; readonly message: string };

/** How the written file was compared with the dequantized reference. */
export interface OutputCheck {
  /** "compared": both ran on one sample. "loaded": the file loads, but there was nothing to run it on. */
  readonly kind: "compared" | "loaded";
  /** What was fed: the first calibration sample, or made-up numbers. */
  readonly sample?: "calibration" | "synthetic";
  /** Largest `max |a - b| / max |b|` over the outputs. */
  readonly difference?: number;
  readonly tolerance: number;
  readonly reason?: string;
}

export interface QuantizeOnnxResult {
  readonly output: string;
  /** Path of the external data, when there is any. */
  readonly data: string | undefined;
  readonly manifest: string;
  /** Every MatMul, Gemm and Conv, in the order of the graph. */
  readonly rows: readonly LayerRow[];
  /** The recipe in effect, as YAML. */
  readonly recipe: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly check: OutputCheck;
  readonly warnings: readonly string[];
  readonly totals: {
    readonly layers: number;
    readonly parameters: number;
    readonly quantizedParameters: number;
    /** Whole files, external data included. */
    readonly bytesBefore: number;
    readonly bytesAfter: number;
    readonly calibrationBatches: number;
    /** Of this run. */
    readonly seconds: number;
    readonly peakBytes: number;
  };
}
