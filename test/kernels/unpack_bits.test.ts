import { ArgumentError, DTypeError, ShapeError } from "../../lib/errors.js";
import { packedLength } from "../../lib/ops/pack-bits.js";
import { unpackBits } from "../../lib/ops/unpack-bits.js";
import { Tensor } from "../../lib/tensor/index.js";
import { bitStream, codeMatrix, writeStream } from "../helpers/bit-stream.js";
import { eachDevice } from "../helpers/each-device.js";

const SHAPES = [
  [0, 3],
  [3, 0],
  [1, 1],
  [2, 33],
  [65, 7],
  [130, 258],
] as const;

eachDevice("unpack_bits", (device) => {
  describe.each([1, 2, 3, 4, 5, 8])("%d bits", (bits) => {
    test.each(SHAPES)("%d x %d, words and bytes, whole and as a view", async (rows, columns) => {
      const codes = codeMatrix(rows, columns, bits);
      for (const dtype of ["int32", "uint8"] as const) {
        const length = packedLength(columns, bits, dtype) + 1; // one word more than needed
        const array =
          dtype === "int32" ? new Int32Array(rows * length) : new Uint8Array(rows * length);
        for (let row = 0; row < rows; row++) {
          const line = codes.subarray(row * columns, (row + 1) * columns);
          writeStream(array.subarray(row * length, (row + 1) * length), bitStream(line, bits));
        }
        using packed = Tensor.from(array, [rows, length], { device });
        using transposed = packed.transpose().contiguous();
        using view = transposed.transpose();
        for (const input of [packed, view]) {
          using unpacked = unpackBits(input, { bits, columns });
          expect(unpacked.shape).toEqual([rows, columns]);
          expect(await unpacked.data()).toEqual(codes);
        }
      }
    });
  });

  test("refuses wrong arguments", () => {
    using packed = Tensor.from(new Int32Array(4), [2, 2], { device });
    using real = Tensor.from(new Float32Array(4), [2, 2], { device });
    using flat = Tensor.from(new Int32Array(4), [4], { device });
    expect(() => unpackBits(packed, { bits: 4, columns: 17 })).toThrow(ShapeError);
    expect(() => unpackBits(flat, { bits: 4, columns: 1 })).toThrow(ShapeError);
    expect(() => unpackBits(real, { bits: 4, columns: 1 })).toThrow(DTypeError);
    expect(() => unpackBits(packed, { bits: 0, columns: 1 })).toThrow(ArgumentError);
    expect(() => unpackBits(packed, { bits: 4, columns: -1 })).toThrow(ArgumentError);
  });
});
