import { freemem } from "node:os";
import { Tensor } from "../../lib/tensor/index.js";

const GIB = 2 ** 30;
const enough = freemem() > 5 * GIB;

// Counts, offsets and strides beyond 2^31 elements: 3 GiB of bytes, read back at both ends and across the border.
(enough ? test : test.skip)(
  "a tensor of 3 GiB is written and read everywhere (needs 5 GiB of free memory)",
  () => {
    using t = Tensor.zeros([3, GIB], { dtype: "uint8" });
    expect(t.byteLength).toBe(3 * GIB);
    for (const row of [0, 2]) {
      using tail = t.slice(0, row, row + 1).slice(1, GIB - 4, GIB);
      expect(Array.from(tail.dataSync())).toEqual([0, 0, 0, 0]);
    }
    using column = t.slice(1, GIB - 1, GIB);
    expect(column.strides).toEqual([GIB, 1]);
    expect(Array.from(column.dataSync())).toEqual([0, 0, 0]);
  },
);

test("a shape whose product overflows is an error, not a small tensor", () => {
  for (const shape of [
    [2 ** 30, 2 ** 30],
    [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1],
  ]) {
    expect(() => Tensor.empty(shape)).toThrow(
      expect.objectContaining({ name: expect.stringMatching(/ShapeError|DeviceError/) as string }),
    );
  }
  expect(() => Tensor.empty([2 ** 31])).toThrow(expect.objectContaining({ code: "SHAPE" }));
});
