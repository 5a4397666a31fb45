import { ArgumentError, DTypeError, ShapeError } from "../../lib/errors.js";
import { packBits, packedLength } from "../../lib/ops/pack-bits.js";
import { Tensor } from "../../lib/tensor/index.js";
import { bitStream, codeMatrix, readStream } from "../helpers/bit-stream.js";
import { eachDevice } from "../helpers/each-device.js";

const SHAPES = [
  [0, 3],
  [3, 0],
  [1, 1],
  [2, 33],
  [65, 7],
  [130, 258],
] as const;

eachDevice("pack_bits", (device) => {
  describe.each([1, 2, 3, 4, 5, 8])("%d bits", (bits) => {
    test.each(SHAPES)("%d x %d, words and bytes, whole and as a view", async (rows, columns) => {
      const codes = codeMatrix(rows, columns, bits);
      using x = Tensor.from(codes, [rows, columns], { device });
      // The same matrix, each code not next to its neighbour in memory: transposed twice, and inside a larger one.
      using transposed = x.transpose().contiguous();
      using view = transposed.transpose();
      for (const dtype of ["int32", "uint8"] as const) {
        for (const input of [x, view]) {
          using packed = packBits(input, { bits, dtype: dtype as "int32" });
          const length = packedLength(columns, bits, dtype);
          expect(packed.shape).toEqual([rows, length]);
          const data = await packed.data();
          for (let row = 0; row < rows; row++) {
            const line = codes.subarray(row * columns, (row + 1) * columns);
            const words = data.subarray(row * length, (row + 1) * length);
            expect(readStream(words)).toBe(bitStream(line, bits));
          }
        }
      }
    });

    test("pads each row with its fill, and rows of a slice", async () => {
      const [rows, columns, paddedColumns] = [70, 9, 21];
      const codes = codeMatrix(rows, columns, bits);
      const pad = codeMatrix(1, rows, bits);
      using x = Tensor.from(codes, [rows, columns], { device });
      using fill = Tensor.from(pad, [rows], { device, dtype: "uint8" });
      using slice = x.slice(1, 2, columns);
      using packed = packBits(slice, { bits, dtype: "uint8", paddedColumns, fill });
      const data = await packed.data();
      const length = packedLength(paddedColumns, bits, "uint8");
      for (let row = 0; row < rows; row++) {
        const line = new Uint8Array(paddedColumns).fill(pad[row]!);
        line.set(codes.subarray(row * columns + 2, (row + 1) * columns));
        const bytes = data.subarray(row * length, (row + 1) * length);
        expect(readStream(bytes)).toBe(bitStream(line, bits));
      }
    });
  });

  test("cuts off what does not fit", () => {
    using x = Tensor.from(Uint8Array.of(0xff, 0x10), [1, 2], { device });
    using packed = packBits(x, { bits: 4, dtype: "uint8" });
    expect(packed.dataSync()).toEqual(Uint8Array.of(0x0f));
  });

  test("refuses wrong arguments", () => {
    using x = Tensor.from(new Uint8Array(6), [2, 3], { device });
    using flat = Tensor.from(new Uint8Array(6), [6], { device });
    using real = Tensor.from(new Float32Array(6), [2, 3], { device });
    using fill = Tensor.from(new Uint8Array(3), [3], { device, dtype: "uint8" });
    const options = { bits: 4, dtype: "int32" } as const;
    expect(() => packBits(flat, options)).toThrow(ShapeError);
    expect(() => packBits(real, options)).toThrow(DTypeError);
    expect(() => packBits(x, { ...options, bits: 9 })).toThrow(ArgumentError);
    expect(() => packBits(x, { ...options, paddedColumns: 2 })).toThrow(ArgumentError);
    expect(() => packBits(x, { ...options, fill })).toThrow(ShapeError);
    expect(() => packBits(x, { ...options, dtype: "int8" as "int32" })).toThrow(DTypeError);
  });
});
