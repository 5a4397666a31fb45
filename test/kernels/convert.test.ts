import { Tensor, type DType } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";

/** An independent float32 -> 16-bit rounding: the nearest representable value by search over all of them, ties to even. */
function nearest16(value: number, decode: (bits: number) => number): number {
  if (Number.isNaN(value)) return Number.NaN;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const x = Math.abs(value);
  let low = 0;
  let high = 0x7fff;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (decode(middle) <= x) low = middle;
    else high = middle - 1;
  }
  const below = decode(low);
  // Above the largest finite number, the next step decides about Inf as if the exponent range went on.
  const step = Number.isFinite(decode(low + 1)) ? decode(low + 1) - below : below - decode(low - 1);
  const up = x - below > step / 2 || (x - below === step / 2 && (low & 1) === 1);
  return sign | (up && Number.isFinite(below) ? low + 1 : low);
}

const decodeHalf = (bits: number) => {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : Infinity;
  return exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
};
const decodeBrain = (bits: number) => new Float32Array(new Uint32Array([bits << 16]).buffer)[0]!;

const reals = [
  0,
  -0,
  1,
  -1,
  0.1,
  1 / 3,
  65504,
  65519.99,
  65520,
  1e5,
  -7e4,
  6.1e-5,
  5.9e-8,
  2.98e-8,
  2.9802322e-8,
  3e-8,
  1e-9,
  1.0009765625,
  1.00048828125,
  1.0014648437,
  255.5,
  -128.5,
  3e38,
  -3.4e38,
  1e-40,
  2049,
  2051,
  4097.5,
].map(Math.fround);

eachDevice("convert", (device) => {
  test.each([
    ["float16", decodeHalf],
    ["bfloat16", decodeBrain],
  ] as const)("float32 to %s rounds half to even", (dtype, decode) => {
    const bits = Tensor.from(Float32Array.from(reals), undefined, { device })
      .toDType(dtype)
      .dataSync();
    expect(Array.from(bits)).toEqual(reals.map((x) => nearest16(x, decode)));
  });

  test("every float16 and every bfloat16 number survives the way to float32 and back", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    for (const [dtype, decode] of [
      ["float16", decodeHalf],
      ["bfloat16", decodeBrain],
    ] as const) {
      const wide = Tensor.from(all, undefined, { dtype, device }).toDType("float32");
      const values = wide.dataSync();
      const back = wide.toDType(dtype).dataSync();
      for (let i = 0; i < 65536; ++i) {
        const magnitude = decode(i & 0x7fff);
        if (Number.isNaN(magnitude)) {
          expect(values[i]).toBeNaN();
          continue;
        }
        if (values[i] !== (i & 0x8000 ? -magnitude : magnitude) || back[i] !== i) {
          throw new Error(`${dtype} ${i}: ${values[i]} and back ${back[i]}`);
        }
      }
    }
  });

  test("float64 to float16 rounds once, not by way of float32", () => {
    // Just above a tie of float16: float32 would land on the tie and then go to even, down.
    const value = 1 + 2 ** -11 + 2 ** -40;
    expect(
      Tensor.from(new Float64Array([value]), undefined, { device })
        .toDType("float16")
        .dataSync()[0],
    ).toBe(0x3c01);
  });

  const special = [NaN, Infinity, -Infinity, 1e20, -1e20, 3.99, -3.99, 300, -300, 0.5, -0.5];
  test.each<[DType, readonly (number | bigint)[]]>([
    ["int32", [0, 2147483647, -2147483648, 2147483647, -2147483648, 3, -3, 300, -300, 0, 0]],
    ["uint8", [0, 255, 0, 255, 0, 3, 0, 255, 0, 0, 0]],
    ["int8", [0, 127, -128, 127, -128, 3, -3, 127, -128, 0, 0]],
    ["bool", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
    [
      "int64",
      [
        0n,
        2n ** 63n - 1n,
        -(2n ** 63n),
        2n ** 63n - 1n,
        -(2n ** 63n),
        3n,
        -3n,
        300n,
        -300n,
        0n,
        0n,
      ],
    ],
  ])("real to %s truncates and saturates, NaN is 0", (dtype, wanted) => {
    expect(
      Array.from<number | bigint>(
        Tensor.from(new Float64Array(special), undefined, { device }).toDType(dtype).dataSync(),
      ),
    ).toEqual(wanted);
    expect(
      Array.from<number | bigint>(
        Tensor.from(Float32Array.from(special), undefined, { device }).toDType(dtype).dataSync(),
      ),
    ).toEqual(wanted);
  });

  test("int64 stays exact and saturates into narrower integers", () => {
    const x = Tensor.from(new BigInt64Array([2n ** 62n + 1n, -5n, 200n]), undefined, { device });
    expect(Array.from(x.contiguous().dataSync() as BigInt64Array)).toEqual([
      2n ** 62n + 1n,
      -5n,
      200n,
    ]);
    expect(Array.from(x.toDType("int8").dataSync())).toEqual([127, -5, 127]);
  });

  test.each([[[0, 5]], [[1]], [[]], [[7, 3, 5]], [[3, 70_001]]])(
    "strided views of %j are read in logical order",
    (shape) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const x = Tensor.from(
        Float32Array.from({ length: size }, (_, i) => i),
        shape,
        { device },
      );
      if (shape.length < 2) {
        expect(x.dataSync().length).toBe(size);
        return;
      }
      const t = x.transpose();
      const [a, b] = [shape.at(-2)!, shape.at(-1)!];
      const wanted = Float32Array.from({ length: size }, (_, i) => {
        const block = Math.floor(i / (a * b));
        const within = i % (a * b);
        return block * a * b + (within % a) * b + Math.floor(within / a);
      });
      expect(t.dataSync()).toEqual(wanted);
      expect(t.contiguous().isContiguous).toBe(true);
    },
  );
});
