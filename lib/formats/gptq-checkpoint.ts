/**
 * One quantized layer as the tensors of a GPTQ checkpoint (AutoGPTQ, GPTQModel, Transformers, vLLM).
 *
 * `W[o][i] = scales[g_idx[i]][o] * (code[i][o] - zero[g_idx[i]][o])`; codes are packed along the inputs,
 * zeros along the outputs. Format v1 stores `zero - 1`, v2 stores `zero`.
 */
import { ArgumentError, describe, expected, FormatError } from "../errors.js";
import { checkQuantized } from "./check-quantized.js";
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from "./float16.js";
import { assertGptqExportable, type GptqCheckpointFormat, type GptqConfig } from "./gptq-config.js";
import { packWords, unpackWords } from "./packing.js";
import type { QuantizedLinear } from "./quantized.js";
import type { SafetensorsTensor } from "./safetensors.js";
import { transpose } from "./transpose.js";

export { checkGptqExportable, gptqConfig, parseGptqConfig } from "./gptq-config.js";
export type { GptqCheckpointFormat, GptqConfig, GptqConfigOptions } from "./gptq-config.js";

/**
 * Encodes a layer as `P.qweight` I32 `[in*bits/32, out]`, `P.qzeros` I32 `[groups, out*bits/32]`,
 * `P.scales` F16 `[groups, out]`, `P.g_idx` I32 `[in]` and, with a bias, `P.bias` F16 `[out]`.
 *
 * @param prefix P, such as `model.layers.0.self_attn.q_proj`.
 * @param options.checkpointFormat default "gptq" (v1).
 * @throws ArgumentError when the format cannot hold the layer (`checkGptqExportable`), when v1 would have
 *   to store a zero of 0, or when a float16 overflows; ShapeError for wrong lengths.
 */
export function encodeGptqLayer(
  prefix: string,
  q: QuantizedLinear,
  options: { checkpointFormat?: GptqCheckpointFormat } = {},
): Map<string, SafetensorsTensor> {
  const fn = "encodeGptqLayer";
  const { checkpointFormat = "gptq" } = options;
  checkQuantized(fn, q);
  assertGptqExportable(fn, prefix, q);
  const { inFeatures, outFeatures, groups, bits } = q;
  const zeros = checkpointFormat === "gptq" ? minusOne(fn, prefix, q) : q.zeros;
  const wordRows = (inFeatures * bits) / 32;
  const rows = packWords(q.codes, { rows: outFeatures, columns: inFeatures, bits });
  const tensors = new Map<string, SafetensorsTensor>([
    [
      `${prefix}.qweight`,
      {
        dtype: "I32",
        shape: [wordRows, outFeatures],
        data: transpose(rows, outFeatures, wordRows),
      },
    ],
    [
      `${prefix}.qzeros`,
      {
        dtype: "I32",
        shape: [groups, (outFeatures * bits) / 32],
        data: packWords(zeros, { rows: groups, columns: outFeatures, bits }),
      },
    ],
    [
      `${prefix}.scales`,
      {
        dtype: "F16",
        shape: [groups, outFeatures],
        data: toHalf(fn, `${prefix}.scales`, q.scales),
      },
    ],
    [`${prefix}.g_idx`, { dtype: "I32", shape: [inFeatures], data: q.groupIndex }],
  ]);
  if (q.bias !== undefined) {
    const data = toHalf(fn, `${prefix}.bias`, q.bias);
    tensors.set(`${prefix}.bias`, { dtype: "F16", shape: [outFeatures], data });
  }
  return tensors;
}

function minusOne(fn: string, prefix: string, q: QuantizedLinear): Uint8Array {
  const at = q.zeros.indexOf(0);
  if (at !== -1) {
    const [group, row] = [Math.floor(at / q.outFeatures), at % q.outFeatures];
    throw new ArgumentError(
      `${fn}: expected zeros of at least 1 for ${prefix} but received 0 in group ${group} of output ${row}: ` +
        'readers of format v1 disagree on it; write checkpointFormat "gptq_v2"',
    );
  }
  return q.zeros.map((zero) => zero - 1);
}

function toHalf(fn: string, name: string, values: Float32Array): Uint16Array {
  const halves = float32ToFloat16(values);
  const bad = halves.findIndex((half) => (half & 0x7c00) === 0x7c00);
  if (bad !== -1) {
    throw new ArgumentError(expected(fn, "a finite float16", `${name}[${bad}]`, values[bad]));
  }
  return halves;
}

export interface DecodeGptqOptions {
  /** What the checkpoint's config says; without it bits and group size follow from the shapes. */
  config?: GptqConfig;
  /** Told about zero points that writers of format v1 disagree on. */
  onWarning?: (message: string) => void;
}

/**
 * Decodes the tensors of one layer; the inverse of `encodeGptqLayer`.
 *
 * Zero points of format v1: without a stored field equal to `2^bits - 1`, 1 is added to each. With one,
 * 1 is added modulo `2^bits`, or, for 2, 4 and 8 bits written by GPTQModel, to whole words modulo 2^32
 * (the inverse of how it wrote them); both call `onWarning`.
 *
 * @param tensors the tensors of the file that start with `prefix`; data as typed arrays.
 * @returns scales from BF16 or F32 have `scaleDtype` "float32".
 * @throws FormatError when a tensor is missing, or a shape, dtype or value is impossible.
 */
export function decodeGptqLayer(
  prefix: string,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  options: DecodeGptqOptions = {},
): QuantizedLinear {
  const read = new LayerReader(prefix, tensors);
  const { config } = options;
  const groupIndex = read.int32("g_idx", 1);
  const qweight = read.int32("qweight", 2);
  const inFeatures = groupIndex.data.length;
  const [wordRows = 0, outFeatures = 0] = qweight.shape;
  const bits = checkBits(read, (32 * wordRows) / inFeatures, config?.bits);
  const qzeros = read.int32("qzeros", 2);
  const [groups = 0] = qzeros.shape;
  read.want("qzeros", qzeros.shape, [groups, (outFeatures * bits) / 32]);
  const scales = read.floats("scales", [groups, outFeatures]);
  const groupSize = config?.groupSize ?? (groups === 1 ? -1 : Math.ceil(inFeatures / groups));
  const count = groupSize === -1 ? 1 : Math.ceil(inFeatures / groupSize);
  if (groups !== count) read.fail(`${count} groups of ${groupSize} inputs`, "qzeros", groups);
  checkGroups(read, groupIndex.data, groups, groupSize === -1 ? inFeatures : groupSize);

  const rows = transpose(qweight.data, wordRows, outFeatures);
  const zeros = readZeros(qzeros.data, { groups, outFeatures, bits }, options, prefix);
  const sym = zeros.every((zero) => zero === 2 ** (bits - 1));
  if (config?.sym === true && !sym) {
    read.fail(`zero points ${2 ** (bits - 1)} (the config says sym)`, "qzeros", "others");
  }
  const bias = tensors.has(`${prefix}.bias`) ? read.floats("bias", [outFeatures]).data : undefined;
  return {
    inFeatures,
    outFeatures,
    bits,
    groupSize,
    groups,
    sym,
    codes: unpackWords(rows, { rows: outFeatures, columns: inFeatures, bits }),
    scales: scales.data,
    zeros,
    groupIndex: groupIndex.data,
    scaleDtype: scales.dtype === "F16" ? "float16" : "float32",
    ...(bias === undefined ? {} : { bias }),
  };
}

/** Fetches tensors of one layer and checks their type and shape. */
class LayerReader {
  constructor(
    readonly prefix: string,
    readonly tensors: ReadonlyMap<string, SafetensorsTensor>,
  ) {}

  fail(what: string, name: string, received: unknown): never {
    throw new FormatError(expected("decodeGptqLayer", what, `${this.prefix}.${name}`, received));
  }

  want(name: string, shape: readonly number[], wanted: readonly number[]): void {
    if (shape.length !== wanted.length || shape.some((size, axis) => size !== wanted[axis])) {
      this.fail(`shape ${describe(wanted)}`, name, shape);
    }
  }

  get(name: string): SafetensorsTensor {
    const tensor = this.tensors.get(`${this.prefix}.${name}`);
    if (tensor === undefined) this.fail("a tensor", name, undefined);
    if (tensor.data.length !== tensor.shape.reduce((product, size) => product * size, 1)) {
      this.fail(`data of shape ${describe(tensor.shape)}`, name, tensor.data);
    }
    return tensor;
  }

  int32(name: string, rank: number): { data: Int32Array; shape: readonly number[] } {
    const { dtype, data, shape } = this.get(name);
    if (dtype !== "I32" || !(data instanceof Int32Array)) this.fail("I32", name, dtype);
    if (shape.length !== rank) this.fail(`${rank} dimensions`, name, shape);
    return { data, shape };
  }

  floats(name: string, shape: readonly number[]): { data: Float32Array; dtype: string } {
    const tensor = this.get(name);
    this.want(name, tensor.shape, shape);
    const data = toFloat32(tensor);
    if (data === undefined) this.fail("F16, BF16 or F32", name, tensor.dtype);
    const bad = data.findIndex((value) => !Number.isFinite(value));
    if (bad !== -1) this.fail("a finite number", `${name}[${bad}]`, data[bad]);
    return { data, dtype: tensor.dtype };
  }
}

function toFloat32({ dtype, data }: SafetensorsTensor): Float32Array | undefined {
  if (dtype === "F16" && data instanceof Uint16Array) return float16ToFloat32(data);
  if (dtype === "BF16" && data instanceof Uint16Array) return bfloat16ToFloat32(data);
  return dtype === "F32" && data instanceof Float32Array ? data : undefined;
}

function checkBits(read: LayerReader, bits: number, wanted: number | undefined): 2 | 3 | 4 | 8 {
  if (wanted !== undefined && bits !== wanted) {
    read.fail(`${wanted} bits an input`, "qweight", bits);
  }
  if (bits === 2 || bits === 3 || bits === 4 || bits === 8) return bits;
  read.fail("2, 3, 4 or 8 bits an input", "qweight", bits);
}

function checkGroups(read: LayerReader, index: Int32Array, groups: number, size: number): void {
  const used = new Int32Array(groups);
  index.forEach((group, input) => {
    if (group < 0 || group >= groups) read.fail(`0..${groups - 1}`, `g_idx[${input}]`, group);
    used[group] = (used[group] ?? 0) + 1;
  });
  const full = used.findIndex((count) => count > size);
  if (full !== -1) read.fail(`at most ${size} inputs in group ${full}`, "g_idx", used[full]);
}

interface ZeroShape {
  groups: number;
  outFeatures: number;
  bits: 2 | 3 | 4 | 8;
}

function readZeros(
  qzeros: Int32Array,
  { groups, outFeatures, bits }: ZeroShape,
  { config, onWarning }: DecodeGptqOptions,
  prefix: string,
): Uint8Array {
  const unpack = (words: Int32Array) =>
    unpackWords(words, { rows: groups, columns: outFeatures, bits });
  const stored = unpack(qzeros);
  const middle = 2 ** (bits - 1);
  // A silent config: a v1 file with every zero one above the middle does not happen.
  const looksV2 = config?.sym !== false && stored.every((zero) => zero === middle);
  const format = config?.checkpointFormat ?? (looksV2 ? "gptq_v2" : "gptq");
  if (format === "gptq_v2") return stored;

  const mask = 2 ** bits - 1;
  if (!stored.includes(mask)) return stored.map((zero) => zero + 1);
  const byWord =
    bits !== 3 &&
    config?.quantizer.some((name) => name.toLowerCase().startsWith("gptqmodel")) === true;
  onWarning?.(
    `${prefix}.qzeros: a zero point of 0 was written in format v1, which writers do in different ways; ` +
      (byWord ? "read as GPTQModel wrote it" : `read modulo ${2 ** bits}`),
  );
  if (!byWord) return stored.map((zero) => (zero + 1) & mask);
  const one = 0xffffffff / mask; // 1 in each field of a word
  return unpack(qzeros.map((word) => (word + one) | 0));
}
