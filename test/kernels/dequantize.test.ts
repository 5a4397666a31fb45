import { ArgumentError, DTypeError, ShapeError } from "../../lib/errors.js";
import { dequantize } from "../../lib/ops/dequantize.js";
import { Tensor } from "../../lib/tensor/index.js";
import { codeMatrix } from "../helpers/bit-stream.js";
import { eachDevice } from "../helpers/each-device.js";

/** A layer of `groups` groups; `group(i)` is the group of column i. */
function layer(rows: number, columns: number, groups: number, group: (i: number) => number) {
  return {
    codes: codeMatrix(rows, columns, 8),
    scales: Float32Array.from({ length: groups * rows }, (_, i) => Math.sin(i + 1) / 3),
    zeros: codeMatrix(1, groups * rows, 8).reverse(),
    groupIndex: Int32Array.from({ length: columns }, (_, i) => group(i)),
  };
}

eachDevice("dequantize", (device) => {
  const tensors = (parts: ReturnType<typeof layer>, rows: number, groups: number) => ({
    codes: Tensor.from(parts.codes, [rows, parts.groupIndex.length], { device }),
    scales: Tensor.from(parts.scales, [groups, rows], { device }),
    zeros: Tensor.from(parts.zeros, [groups, rows], { device }),
    groupIndex: Tensor.from(parts.groupIndex, undefined, { device }),
  });
  const dispose = (inputs: Record<string, Tensor>) => {
    for (const tensor of Object.values(inputs)) tensor.dispose();
  };

  test.each<[number, number, number, string, (i: number) => number]>([
    [0, 3, 1, "one group", () => 0],
    [3, 0, 0, "no columns", () => 0],
    [1, 1, 1, "one group", () => 0],
    [17, 33, 5, "contiguous groups", (i) => Math.floor(i / 7)],
    [40, 130, 3, "scattered groups", (i) => (i * i) % 3],
    [33, 257, 3, "contiguous groups and an empty one", (i) => (i < 129 ? 0 : 2)],
  ])("%d x %d, %d groups: %s", async (rows, columns, groups, _, group) => {
    const parts = layer(rows, columns, groups, group);
    const inputs = tensors(parts, rows, groups);
    using transposed = inputs.codes.transpose().contiguous();
    using view = transposed.transpose();
    for (const codes of [inputs.codes, view]) {
      using weight = dequantize({ ...inputs, codes });
      expect(weight.shape).toEqual([rows, columns]);
      const got = await weight.data();
      // float64 products of a float32 and a small integer are exact: one rounding, as in the kernel.
      const wanted = Float32Array.from(parts.codes, (code, at) => {
        const [row, column] = [Math.floor(at / columns), at % columns];
        const place = parts.groupIndex[column]! * rows + row;
        return parts.scales[place]! * (code - parts.zeros[place]!);
      });
      expect(got).toEqual(wanted);
    }
    dispose(inputs);
  });

  test("a group out of range is an error that names the column", async () => {
    for (const wrong of [-1, 2]) {
      const parts = layer(2, 5, 2, (i) => (i === 3 ? wrong : 1));
      const inputs = tensors(parts, 2, 2);
      using weight = dequantize(inputs);
      await expect(weight.data()).rejects.toThrow(ArgumentError);
      await expect(weight.data()).rejects.toThrow(/group_index\[3\]/);
      dispose(inputs);
    }
  });

  test("refuses shapes and dtypes that do not fit", () => {
    const inputs = tensors(
      layer(2, 5, 2, () => 1),
      2,
      2,
    );
    using flat = Tensor.from(new Float32Array(4), [4], { device });
    using wide = Tensor.from(new Float32Array(6), [2, 3], { device });
    using short = Tensor.from(new Int32Array(4), [4], { device });
    expect(() => dequantize({ ...inputs, scales: flat })).toThrow(ShapeError);
    expect(() => dequantize({ ...inputs, scales: wide })).toThrow(ShapeError);
    expect(() => dequantize({ ...inputs, zeros: wide })).toThrow(DTypeError);
    expect(() => dequantize({ ...inputs, groupIndex: short })).toThrow(ShapeError);
    expect(() => dequantize({ ...inputs, codes: wide })).toThrow(DTypeError);
    dispose(inputs);
  });
});
