/** The weight inputs of the ONNX operator com.microsoft.MatMulNBits. */
import { ArgumentError, expected, FormatError, ShapeError } from "../errors.js";
import { checkQuantized, columnsPerGroup, hasContiguousGroups } from "./check-quantized.js";
import { packBytes, packedBytes, unpackBytes } from "./packing.js";
import type { QuantizedLinear } from "./quantized.js";
import { transpose } from "./transpose.js";

/** Block sizes the runtime accepts. */
export const MATMUL_NBITS_BLOCK_SIZES: readonly number[] = [16, 32, 64, 128, 256];

export interface MatMulNBitsWeight {
  /** 2, 4 or 8: codes of 3 bits are widened to 4. */
  bits: 2 | 4 | 8;
  blockSize: number;
  /** `ceil(inFeatures / blockSize)`. */
  blocks: number;
  /** `[outFeatures, blocks, blockSize * bits / 8]`. */
  B: Uint8Array;
  /** `[outFeatures, blocks]`. */
  scales: Float32Array;
  /** `[outFeatures, ceil(blocks * bits / 8)]`, packed like the codes. */
  zeroPoints: Uint8Array;
}

/**
 * The block size for a layer: the group size when the runtime has it, else the largest one up to 128
 * that divides the group (scales are repeated). One group per row takes the smallest block up to 128
 * that holds the row.
 *
 * @returns undefined when no block size fits (a group size that is no multiple of 16).
 */
export function matMulNBitsBlockSize(q: {
  groupSize: number;
  inFeatures: number;
}): number | undefined {
  const size = columnsPerGroup(q);
  const upTo128 = MATMUL_NBITS_BLOCK_SIZES.filter((block) => block <= 128);
  if (size >= q.inFeatures) return upTo128.find((block) => block >= q.inFeatures) ?? 128;
  if (MATMUL_NBITS_BLOCK_SIZES.includes(size)) return size;
  return upTo128.findLast((block) => size % block === 0);
}

/** The reason why MatMulNBits cannot hold such a layer, before any work; undefined when it can. */
export function checkMatMulNBitsExportable(layer: {
  groupSize: number;
  inFeatures: number;
}): string | undefined {
  if (matMulNBitsBlockSize(layer) !== undefined) return undefined;
  return `MatMulNBits needs a group size that is a multiple of 16, not ${layer.groupSize}`;
}

/**
 * Packs a layer for MatMulNBits. The tail of the last block is filled with its zero point (it
 * dequantizes to 0).
 *
 * @param q a layer; `groupSize` must be a multiple of `blockSize`, or one group must hold every column.
 * @param blockSize columns of a block: 16, 32, 64, 128 or 256. See `matMulNBitsBlockSize`.
 * @param options.order `[inFeatures]`: the original column at each place (see `columnsByGroup`), for a
 *   layer whose groups are not contiguous. The graph must gather the activations in this order.
 * @throws ArgumentError when the block size does not fit or groups are not contiguous in that order.
 */
export function packMatMulNBits(
  q: QuantizedLinear,
  blockSize: number,
  options: { order?: Int32Array } = {},
): MatMulNBitsWeight {
  const fn = "packMatMulNBits";
  checkQuantized(fn, q);
  const size = columnsPerGroup(q);
  const oneGroup = size >= q.inFeatures;
  if (!MATMUL_NBITS_BLOCK_SIZES.includes(blockSize) || !(oneGroup || size % blockSize === 0)) {
    throw new ArgumentError(
      expected(
        fn,
        `one of 16, 32, 64, 128, 256 that divides the group size ${size}`,
        "blockSize",
        blockSize,
      ),
    );
  }
  const layer = options.order === undefined ? q : reorderColumns(q, options.order);
  if (!hasContiguousGroups(layer)) {
    throw new ArgumentError(
      expected(fn, "contiguous groups (pass options.order)", "groupIndex", q.groupIndex),
    );
  }
  const { inFeatures, outFeatures, groups } = q;
  const bits = q.bits === 3 ? 4 : q.bits;
  const blocks = Math.ceil(inFeatures / blockSize);
  const scales = new Float32Array(outFeatures * blocks);
  const zeros = new Uint8Array(outFeatures * blocks);
  const lastZero = new Uint8Array(outFeatures);
  for (let row = 0; row < outFeatures; row++) {
    for (let block = 0; block < blocks; block++) {
      const group = Math.min(Math.floor((block * blockSize) / size), groups - 1);
      scales[row * blocks + block] = q.scales[group * outFeatures + row] ?? 0;
      zeros[row * blocks + block] = q.zeros[group * outFeatures + row] ?? 0;
    }
    lastZero[row] = zeros[(row + 1) * blocks - 1] ?? 0;
  }
  return {
    bits,
    blockSize,
    blocks,
    scales,
    zeroPoints: packBytes(zeros, { rows: outFeatures, columns: blocks, bits }),
    B: packBytes(layer.codes, {
      rows: outFeatures,
      columns: inFeatures,
      bits,
      paddedColumns: blocks * blockSize,
      fill: lastZero,
    }),
  };
}

/**
 * Reads the weight of a MatMulNBits node back.
 *
 * @param weight what the node holds; without `zeroPoints` every zero is `2^(bits-1)`.
 * @param shape `inFeatures` (K) and `outFeatures` (N).
 * @returns a layer with `groupSize = blockSize`; `sym` when every zero is `2^(bits-1)`.
 * @throws FormatError when a length does not fit the shape.
 */
export function unpackMatMulNBits(
  weight: Omit<MatMulNBitsWeight, "zeroPoints" | "blocks"> & { zeroPoints?: Uint8Array },
  shape: { inFeatures: number; outFeatures: number },
): QuantizedLinear {
  const { bits, blockSize } = weight;
  const { inFeatures, outFeatures } = shape;
  const blocks = Math.ceil(inFeatures / blockSize);
  const want = (name: string, received: number, length: number) => {
    if (received !== length) {
      throw new FormatError(expected("unpackMatMulNBits", `${length} values`, name, received));
    }
  };
  want("B", weight.B.length, outFeatures * blocks * packedBytes(blockSize, bits));
  want("scales", weight.scales.length, outFeatures * blocks);
  if (weight.zeroPoints !== undefined) {
    want("zeroPoints", weight.zeroPoints.length, outFeatures * packedBytes(blocks, bits));
  }
  const middle = 2 ** (bits - 1);
  const zeros =
    weight.zeroPoints === undefined
      ? new Uint8Array(outFeatures * blocks).fill(middle)
      : unpackBytes(weight.zeroPoints, { rows: outFeatures, columns: blocks, bits });
  return {
    inFeatures,
    outFeatures,
    bits,
    groupSize: blockSize,
    groups: blocks,
    sym: zeros.every((zero) => zero === middle),
    codes: unpackBytes(weight.B, { rows: outFeatures, columns: inFeatures, bits }),
    scales: transpose(weight.scales, outFeatures, blocks),
    zeros: transpose(zeros, outFeatures, blocks),
    groupIndex: Int32Array.from({ length: inFeatures }, (_, column) =>
      Math.floor(column / blockSize),
    ),
    scaleDtype: "float32",
  };
}

/** The same layer with its columns in another order. */
function reorderColumns(q: QuantizedLinear, order: Int32Array): QuantizedLinear {
  const { inFeatures, outFeatures } = q;
  const seen = new Uint8Array(inFeatures);
  for (const column of order) seen[column] = 1;
  if (order.length !== inFeatures || seen.includes(0)) {
    throw new ShapeError(
      expected("packMatMulNBits", `a permutation of ${inFeatures} columns`, "order", order),
    );
  }
  const codes = new Uint8Array(q.codes.length);
  for (let row = 0; row < outFeatures; row++) {
    const start = row * inFeatures;
    order.forEach((column, place) => {
      codes[start + place] = q.codes[start + column] ?? 0;
    });
  }
  return { ...q, codes, groupIndex: order.map((column) => q.groupIndex[column] ?? 0) };
}
