import fc from "fast-check";
import { ArgumentError, FormatError, ShapeError } from "../../lib/errors.js";
import { columnsByGroup } from "../../lib/formats/check-quantized.js";
import {
  checkMatMulNBitsExportable,
  matMulNBitsBlockSize,
  packMatMulNBits,
  unpackMatMulNBits,
} from "../../lib/formats/matmul-nbits.js";
import {
  packBytes,
  packNibbles,
  packWords,
  unpackBytes,
  unpackNibbles,
  unpackWords,
} from "../../lib/formats/packing.js";
import type { QuantizedLinear } from "../../lib/formats/quantized.js";
import vectors from "../vectors/packing.json" with { type: "json" };

const words = (...values: number[]) => Int32Array.from(values, (value) => value | 0);

function layer(options: {
  inFeatures: number;
  outFeatures: number;
  bits: 2 | 3 | 4 | 8;
  groupSize: number;
  code?: (row: number, column: number) => number;
  zero?: (group: number, row: number) => number;
  groupIndex?: Int32Array;
}): QuantizedLinear {
  const { inFeatures, outFeatures, bits, groupSize } = options;
  const size = groupSize === -1 ? inFeatures : groupSize;
  const groups = groupSize === -1 ? 1 : Math.ceil(inFeatures / size);
  const code = options.code ?? ((row, column) => 5 * row + 3 * column);
  const zero = options.zero ?? ((group, row) => 3 * row + group + 6);
  return {
    inFeatures,
    outFeatures,
    bits,
    groupSize,
    groups,
    sym: false,
    scaleDtype: "float32",
    codes: Uint8Array.from(
      { length: inFeatures * outFeatures },
      (_, i) => code(Math.floor(i / inFeatures), i % inFeatures) % 2 ** bits,
    ),
    zeros: Uint8Array.from(
      { length: groups * outFeatures },
      (_, i) => zero(Math.floor(i / outFeatures), i % outFeatures) % 2 ** bits,
    ),
    scales: Float32Array.from({ length: groups * outFeatures }, (_, i) => 0.5 + i / 64),
    groupIndex:
      options.groupIndex ?? Int32Array.from({ length: inFeatures }, (_, i) => Math.floor(i / size)),
  };
}

describe("packWords", () => {
  test.each([
    ["4 bit", 4, [1, 2, 3, 4, 5, 6, 7, 8], words(0x87654321)],
    [
      "3 bit",
      3,
      Array.from({ length: 32 }, (_, i) => i % 8),
      words(0x88fac688, 0xc688fac6, 0xfac688fa),
    ],
    ["3 bit, all 5", 3, new Array<number>(32).fill(5), words(0x6db6db6d, 0xdb6db6db, 0xb6db6db6)],
    ["2 bit, short", 2, [1, 2, 3], words(0b111001)],
    ["8 bit", 8, [1, 2, 3, 255], words(0xff030201)],
  ])("worked words: %s", (_, bits, codes, wanted) => {
    const packed = packWords(Uint8Array.from(codes), { rows: 1, columns: codes.length, bits });
    expect(packed).toEqual(wanted);
  });

  test.each(vectors.compressed_tensors)("rows of 20 signed codes, $bits bit", (vector) => {
    const [rows, columns] = vector.weight_shape as [number, number];
    const codes = Uint8Array.from(
      { length: rows * columns },
      (_, i) => (5 * Math.floor(i / columns) + 3 * (i % columns)) % 2 ** vector.bits,
    );
    const packed = packWords(codes, { rows, columns, bits: vector.bits });
    expect(Array.from(packed)).toEqual(vector.weight_packed_i32.flat());
    expect(unpackWords(packed, { rows, columns, bits: vector.bits })).toEqual(codes);
  });
});

describe("packBytes", () => {
  test("is the bit stream of a big integer, and unpackBytes its inverse", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 70 }),
        fc.integer({ min: 0, max: 9 }),
        (bits, values, extra) => {
          const codes = Uint8Array.from(values, (value) => value % 2 ** bits);
          const options = { rows: 2, columns: codes.length, bits };
          const both = Uint8Array.from([...codes, ...codes]);
          const packed = packBytes(both, {
            ...options,
            paddedColumns: codes.length + extra,
            fill: Uint8Array.of(1, 0),
          });
          const stream = (fill: number) =>
            [...codes, ...new Array<number>(extra).fill(fill)].reduceRight(
              (sum, code) => (sum << BigInt(bits)) | BigInt(code),
              0n,
            );
          const rowBytes = packed.length / 2;
          const read = (row: number) =>
            packed
              .subarray(row * rowBytes, (row + 1) * rowBytes)
              .reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
          expect([read(0), read(1)]).toEqual([stream(1), stream(0)]);
          if (rowBytes > 0) expect(unpackBytes(packed, options)).toEqual(both);
        },
      ),
      { numRuns: 100 },
    );
  });

  test.each([
    ["codes", () => packBytes(new Uint8Array(3), { rows: 2, columns: 2, bits: 4 }), ShapeError],
    ["bits", () => packBytes(new Uint8Array(4), { rows: 2, columns: 2, bits: 9 }), ArgumentError],
    ["columns", () => packBytes(new Uint8Array(4), { rows: 2, columns: -2, bits: 4 }), ShapeError],
    [
      "paddedColumns",
      () => packBytes(new Uint8Array(4), { rows: 2, columns: 2, bits: 4, paddedColumns: 1 }),
      ArgumentError,
    ],
    ["packed", () => unpackBytes(new Uint8Array(3), { rows: 2, columns: 2, bits: 4 }), ShapeError],
  ])("refuses a wrong %s", (_, call, error) => {
    expect(call).toThrow(error);
  });
});

test("nibbles: the first in the low half, signed or not, an odd count padded with 0", () => {
  expect(packNibbles(Uint8Array.of(1, 2, 15))).toEqual(Uint8Array.of(0x21, 0x0f));
  expect(packNibbles(Int8Array.of(-8, 7, -1))).toEqual(Uint8Array.of(0x78, 0x0f));
  expect(packNibbles(new Uint8Array(0))).toEqual(new Uint8Array(0));
  expect(unpackNibbles(Uint8Array.of(0x21, 0x0f), 3)).toEqual(Uint8Array.of(1, 2, 15));
});

describe("MatMulNBits", () => {
  test.each(vectors.matmulnbits)("vector: $bits bit", (vector) => {
    const q = layer({
      inFeatures: vector.K,
      outFeatures: vector.N,
      bits: vector.bits as 2 | 4 | 8,
      groupSize: vector.block_size,
    });
    const packed = packMatMulNBits(q, vector.block_size);
    expect(Array.from(packed.B)).toEqual(vector.B.flat(2));
    expect(Array.from(packed.zeroPoints)).toEqual(vector.zero_points_packed.flat());
    expect(packed.blocks).toBe(vector.k_blocks);
    expect(unpackMatMulNBits(packed, q)).toEqual(q);
  });

  test("spec example: codes 0..15 in one block", () => {
    const q = layer({ inFeatures: 16, outFeatures: 1, bits: 4, groupSize: 16, code: (_, k) => k });
    expect(Buffer.from(packMatMulNBits(q, 16).B).toString("hex")).toBe("1032547698badcfe");
  });

  test("repeats a large group over its blocks and widens 3 bit to 4", () => {
    const q = layer({ inFeatures: 96, outFeatures: 2, bits: 3, groupSize: 64 });
    const packed = packMatMulNBits(q, 32);
    expect(packed.bits).toBe(4);
    const [s, scaleOf] = [q.scales, (row: number, group: number) => group * 2 + row];
    expect(Array.from(packed.scales)).toEqual(
      [0, 1].flatMap((row) => [0, 0, 1].map((group) => s[scaleOf(row, group)])),
    );
    expect(unpackMatMulNBits(packed, q).codes).toEqual(q.codes);
  });

  test("one group a row becomes blocks; without zero points the middle is meant", () => {
    const q = layer({ inFeatures: 20, outFeatures: 3, bits: 4, groupSize: -1, zero: () => 8 });
    const { zeroPoints, ...packed } = packMatMulNBits(q, 16);
    expect(zeroPoints).toEqual(Uint8Array.from([0x88, 0x88, 0x88]));
    expect(unpackMatMulNBits(packed, q)).toMatchObject({ sym: true, groups: 2, codes: q.codes });
  });

  test("act-order groups are exported in the order of columnsByGroup", () => {
    const groupIndex = Int32Array.from({ length: 32 }, (_, i) => i % 2);
    const q = layer({ inFeatures: 32, outFeatures: 2, bits: 4, groupSize: 16, groupIndex });
    expect(() => packMatMulNBits(q, 16)).toThrow(/contiguous groups/);
    const order = columnsByGroup(q);
    expect(Array.from(order).slice(0, 3)).toEqual([0, 2, 4]);
    const back = unpackMatMulNBits(packMatMulNBits(q, 16, { order }), q);
    expect(back.codes[17]).toBe(q.codes[3]);
    const uneven = layer({ ...q, groupIndex: groupIndex.with(0, 1) });
    expect(() => columnsByGroup(uneven)).toThrow(ShapeError);
    expect(() => packMatMulNBits(q, 16, { order: order.fill(0) })).toThrow(ShapeError);
  });

  test.each([
    [32, 512, 32],
    [512, 4096, 128],
    [96, 960, 32],
    [-1, 4096, 128],
    [-1, 40, 64],
    [500, 7, 16],
    [24, 960, undefined],
    [8, 960, undefined],
  ])("group size %d of %d columns: block size %p", (groupSize, inFeatures, blockSize) => {
    expect(matMulNBitsBlockSize({ groupSize, inFeatures })).toBe(blockSize);
    const reason = checkMatMulNBitsExportable({ groupSize, inFeatures });
    expect(reason === undefined).toBe(blockSize !== undefined);
  });

  test("refuses what does not fit", () => {
    const q = layer({ inFeatures: 40, outFeatures: 3, bits: 4, groupSize: 16 });
    expect(() => packMatMulNBits(q, 32)).toThrow(ArgumentError);
    expect(() => packMatMulNBits({ ...q, codes: new Uint8Array(1) }, 16)).toThrow(ShapeError);
    expect(() => packMatMulNBits({ ...q, zeros: q.zeros.map(() => 16) }, 16)).toThrow(/zeros\[0\]/);
    const packed = packMatMulNBits(q, 16);
    expect(() => unpackMatMulNBits({ ...packed, B: packed.B.slice(1) }, q)).toThrow(FormatError);
  });
});
