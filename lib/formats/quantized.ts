/**
 * The one internal form of a quantized linear layer: every quantizer produces it, every writer takes
 * it, every reader returns it. Convolutions use it with `inFeatures = in/groups * kh * kw`.
 *
 * `W[o][i] = scales[g][o] * (codes[o][i] - zeros[g][o])` with `g = groupIndex[i]`.
 */
export interface QuantizedLinear {
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly bits: 2 | 3 | 4 | 8;
  /** Columns per scale, > 0; or -1: one group per row. */
  readonly groupSize: number;
  /** `ceil(inFeatures / groupSize)`, 1 for -1. */
  readonly groups: number;
  /** True only if every zero is `2^(bits-1)`. */
  readonly sym: boolean;
  /** `[outFeatures, inFeatures]`, unsigned codes 0..2^bits-1, original column order. */
  readonly codes: Uint8Array;
  /** `[groups, outFeatures]`, every value exactly representable in `scaleDtype`. */
  readonly scales: Float32Array;
  /** `[groups, outFeatures]`, 0..2^bits-1, no offset. */
  readonly zeros: Uint8Array;
  /** `[inFeatures]`, the group of each column. */
  readonly groupIndex: Int32Array;
  readonly scaleDtype: "float16" | "float32";
  /** `[outFeatures]`. */
  readonly bias?: Float32Array;
}
