/** The quantized parts of a layer (one per convolution group): dense weights and bytes for the journal. */
import { FormatError } from "../errors.js";
import type { QuantizedLinear } from "../formats/index.js";
import type { Payload, PayloadArray } from "../io/index.js";
import type { LayerSummary } from "./job-types.js";

/** A finished layer. */
export interface QuantizedLayer {
  readonly parts: readonly QuantizedLinear[];
  readonly summary: LayerSummary;
  /** What verification needs later; see layer-check.ts. */
  readonly check: unknown;
}

/**
 * The weights that the codes stand for, `[rows, columns]` of the whole layer. One rounding a weight: a
 * scale times a small integer, so every implementation gives these bits.
 */
export function denseWeight(parts: readonly QuantizedLinear[]): Float32Array {
  const size = parts.reduce((sum, part) => sum + part.codes.length, 0);
  const weight = new Float32Array(size);
  let at = 0;
  for (const { codes, scales, zeros, groupIndex, outFeatures, inFeatures } of parts) {
    for (let row = 0; row < outFeatures; row += 1) {
      for (let column = 0; column < inFeatures; column += 1) {
        const place = (groupIndex[column] ?? 0) * outFeatures + row;
        const code = codes[row * inFeatures + column] ?? 0;
        weight[at] = (scales[place] ?? 0) * (code - (zeros[place] ?? 0));
        at += 1;
      }
    }
  }
  return weight;
}

/** `||a - b||^2 / ||a||^2`. */
export function relativeSquares(before: Float32Array, after: Float32Array): number {
  let error = 0;
  let energy = 0;
  for (let at = 0; at < before.length; at += 1) {
    const value = before[at] ?? 0;
    error += (value - (after[at] ?? 0)) ** 2;
    energy += value ** 2;
  }
  return energy > 0 ? error / energy : 0;
}

interface PartHeader {
  inFeatures: number;
  outFeatures: number;
  bits: QuantizedLinear["bits"];
  groupSize: number;
  groups: number;
  sym: boolean;
  scaleDtype: QuantizedLinear["scaleDtype"];
}

interface Meta {
  parts: PartHeader[];
  summary: LayerSummary;
  check: unknown;
}

/** What the journal keeps of a finished layer. */
export function layerPayload(layer: QuantizedLayer): Payload {
  const arrays: Record<string, PayloadArray> = {};
  const parts = layer.parts.map((part, index): PartHeader => {
    arrays[`${index}.codes`] = part.codes;
    arrays[`${index}.scales`] = part.scales;
    arrays[`${index}.zeros`] = part.zeros;
    arrays[`${index}.groupIndex`] = part.groupIndex;
    const { inFeatures, outFeatures, bits, groupSize, groups, sym, scaleDtype } = part;
    return { inFeatures, outFeatures, bits, groupSize, groups, sym, scaleDtype };
  });
  const meta: Meta = { parts, summary: layer.summary, check: layer.check };
  return { meta, arrays };
}

/** The layer in a payload. @throws FormatError when it is not one. */
export function layerFromPayload(payload: Payload): QuantizedLayer {
  const meta = payload.meta as Meta;
  const take = <T extends PayloadArray>(name: string, Type: new (length: number) => T): T => {
    const array = payload.arrays[name];
    if (array instanceof Type) return array;
    throw new FormatError(`layerFromPayload: expected ${Type.name} for ${name}`);
  };
  const parts = meta.parts.map((header, index): QuantizedLinear => ({
    ...header,
    codes: take(`${index}.codes`, Uint8Array),
    scales: take(`${index}.scales`, Float32Array),
    zeros: take(`${index}.zeros`, Uint8Array),
    groupIndex: take(`${index}.groupIndex`, Int32Array),
  }));
  return { parts, summary: meta.summary, check: meta.check };
}
