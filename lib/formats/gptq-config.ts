/** `quantize_config.json` of a GPTQ checkpoint: the same keys stand under `quantization_config`. */
import { z } from "zod";
import { ArgumentError, expected, FormatError } from "../errors.js";

/** v1 ("gptq") stores `zero - 1`, v2 ("gptq_v2") stores `zero`. */
export type GptqCheckpointFormat = "gptq" | "gptq_v2";

export interface GptqConfig {
  readonly bits: 2 | 3 | 4 | 8;
  readonly groupSize: number;
  readonly descAct: boolean;
  readonly sym: boolean;
  /** undefined: the file does not say (then v1, unless its zero points look like v2). */
  readonly checkpointFormat?: GptqCheckpointFormat;
  /** Who wrote the checkpoint, such as `gptqmodel:2.0`. */
  readonly quantizer: readonly string[];
}

export interface GptqConfigOptions {
  bits: 2 | 3 | 4 | 8;
  groupSize: number;
  sym: boolean;
  descAct: boolean;
  staticGroups: boolean;
  dampPercent: number;
  trueSequential: boolean;
  /** Default "gptq". */
  checkpointFormat?: GptqCheckpointFormat;
  /** Default false. */
  mse?: boolean;
  /** Version of osculate, for `meta.quantizer`. */
  version: string;
}

/** The config object for a checkpoint that osculate writes, with the keys that loaders read. */
export function gptqConfig(options: GptqConfigOptions): Record<string, unknown> {
  const { bits, groupSize, sym, dampPercent, staticGroups, trueSequential } = options;
  const { checkpointFormat = "gptq", mse = false } = options;
  return {
    bits,
    group_size: groupSize,
    // With static groups column i is in group i div g, whatever the order was: fast kernels may be used.
    desc_act: options.descAct && !staticGroups,
    sym,
    lm_head: false,
    quant_method: "gptq",
    checkpoint_format: checkpointFormat,
    pack_dtype: "int32",
    damp_percent: dampPercent,
    static_groups: staticGroups,
    true_sequential: trueSequential,
    model_name_or_path: "",
    model_file_base_name: "model",
    meta: {
      quantizer: [`osculate:${options.version}`],
      damp_percent: dampPercent,
      damp_auto_increment: 0,
      mse: mse ? 2.4 : 0,
      static_groups: staticGroups,
      true_sequential: trueSequential,
    },
  };
}

const SCHEMA = z.object({
  bits: z.union([z.literal(2), z.literal(3), z.literal(4), z.literal(8)]),
  group_size: z.int().refine((size) => size === -1 || size > 0, "expected -1 or an integer > 0"),
  desc_act: z.boolean(),
  sym: z.boolean(),
  quant_method: z.string().optional(),
  method: z.string().optional(),
  checkpoint_format: z.string().optional(),
  format: z.string().optional(),
  pack_dtype: z.literal("int32").optional(),
  meta: z.object({ quantizer: z.union([z.string(), z.array(z.string())]).optional() }).nullish(),
});

/**
 * Reads a config object (the parsed JSON). Unknown keys are ignored; per-module overrides (`dynamic`)
 * are not read.
 *
 * @throws FormatError for a wrong type, another `quant_method`, or a checkpoint format that is not
 *   "gptq" or "gptq_v2".
 */
export function parseGptqConfig(json: unknown): GptqConfig {
  const fn = "parseGptqConfig";
  const parsed = SCHEMA.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(
      `${fn}: expected a GPTQ config: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`,
    );
  }
  const { bits, group_size, desc_act, sym, meta } = parsed.data;
  const method = parsed.data.quant_method ?? parsed.data.method ?? "gptq";
  if (method !== "gptq") throw new FormatError(expected(fn, '"gptq"', "quant_method", method));
  const format = parsed.data.checkpoint_format ?? parsed.data.format;
  const quantizer = meta?.quantizer ?? [];
  return {
    bits,
    groupSize: group_size,
    descAct: desc_act,
    sym,
    ...(format === undefined ? {} : { checkpointFormat: checkFormat(format) }),
    quantizer: typeof quantizer === "string" ? [quantizer] : quantizer,
  };
}

function checkFormat(format: string): GptqCheckpointFormat {
  if (format === "gptq" || format === "gptq_v2") return format;
  const why = format === "gptq_p" ? ' (its bit planes are not read; export it as "gptq_v2")' : "";
  throw new FormatError(
    expected("parseGptqConfig", `"gptq" or "gptq_v2"${why}`, "checkpoint_format", format),
  );
}

/** The reason why a GPTQ checkpoint cannot hold such a layer, before any work; undefined when it can. */
export function checkGptqExportable(layer: {
  inFeatures: number;
  outFeatures: number;
  groupSize: number;
  scaleDtype?: "float16" | "float32";
}): string | undefined {
  const { inFeatures, outFeatures, groupSize } = layer;
  if (inFeatures === 0 || inFeatures % 32 !== 0) {
    return `a GPTQ checkpoint needs inputs that are a multiple of 32, not ${inFeatures}`;
  }
  if (outFeatures === 0 || outFeatures % 32 !== 0) {
    return `a GPTQ checkpoint needs outputs that are a multiple of 32, not ${outFeatures}`;
  }
  if (groupSize !== -1 && inFeatures % groupSize !== 0) {
    return `a GPTQ checkpoint needs a group size that divides ${inFeatures} inputs, not ${groupSize}`;
  }
  if (layer.scaleDtype === "float32") {
    return 'a GPTQ checkpoint stores float16 scales: quantize with scaleDtype "float16"';
  }
  return undefined;
}

/** Throws the reason of `checkGptqExportable`. */
export function assertGptqExportable(
  fn: string,
  name: string,
  layer: Parameters<typeof checkGptqExportable>[0],
): void {
  const reason = checkGptqExportable(layer);
  if (reason !== undefined) throw new ArgumentError(`${fn}: ${name}: ${reason}`);
}
