/** The quantized parts of a layer (one per convolution group): dense weights and bytes for the journal. */
import { FormatError } from "../errors.js";
import type { QuantizedLinear } from "../formats/index.js";
import type { Payload, PayloadArray } from "../io/index.js";
import type { LayerSummary } from "./job-types.js";
import { dequantizeLinear } from "./quantize-result.js";

/** A finished layer. */
export interface QuantizedLayer {
  readonly parts: readonly QuantizedLinear[];
  readonly summary: LayerSummary;
  /** What verification needs later; see layer-check.ts. */
  readonly check: unknown;
}

/** Weights looked at between two turns of the event loop: a few milliseconds. */
const SLICE = 1 << 19;

/**
 * The weights that the codes stand for, `[rows, columns]` of the whole layer. One rounding a weight: a
 * scale times a small integer, so every implementation gives these bits.
 */
export async function denseWeight(parts: readonly QuantizedLinear[]): Promise<Float32Array> {
  const dense: Float32Array[] = [];
  for (const part of parts) {
    const tensor = dequantizeLinear(part);
    try {
      dense.push(await tensor.data());
    } finally {
      tensor.dispose();
    }
  }
  const [only] = dense;
  if (only !== undefined && dense.length === 1) return only; // no copy of a large layer
  const weight = new Float32Array(dense.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of dense) {
    weight.set(part, at);
    at += part.length;
  }
  return weight;
}

/** `||a - b||^2 / ||a||^2`. */
export async function relativeSquares(before: Float32Array, after: Float32Array): Promise<number> {
  let error = 0;
  let energy = 0;
  for (let from = 0; from < before.length; from += SLICE) {
    const to = Math.min(from + SLICE, before.length);
    for (let at = from; at < to; at += 1) {
      const value = before[at] ?? 0;
      error += (value - (after[at] ?? 0)) ** 2;
      energy += value ** 2;
    }
    if (to < before.length) await new Promise(setImmediate);
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
