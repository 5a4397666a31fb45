import fc from "fast-check";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, FormatError, IoError, ShapeError } from "../../lib/errors.js";
import { encodeNpy, type NpyArray, parseNpy, readNpy } from "../../lib/formats/npy.js";

/** A file with this header text and data. */
function file(header: string, data: Uint8Array = new Uint8Array(0), version = 1): Uint8Array {
  const text = Buffer.from(`${header}\n`, version === 3 ? "utf8" : "latin1");
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  length.writeUIntLE(text.length, 0, length.length);
  const start = Buffer.concat([Buffer.from("\x93NUMPY", "latin1"), Buffer.of(version, 0)]);
  return Buffer.concat([start, length, text, data]);
}

const dict = (descr: string, order: string, shape: string) =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`;
const bytesOf = (data: ArrayBufferView) =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const ARRAYS: NpyArray[] = [
  { dtype: "float32", shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, -5.5) },
  { dtype: "float64", shape: [], data: Float64Array.of(Math.E) },
  { dtype: "int32", shape: [3], data: Int32Array.of(-1, 2, 2 ** 31 - 1) },
  { dtype: "int64", shape: [1, 1], data: BigInt64Array.of(-(2n ** 62n)) },
  { dtype: "uint8", shape: [0, 4], data: new Uint8Array(0) },
  { dtype: "int8", shape: [2], data: Int8Array.of(-128, 127) },
  { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
  { dtype: "float16", shape: [1], data: Uint16Array.of(0x3c00) },
];

test.each(ARRAYS)("$dtype $shape comes back", (array) => {
  const bytes = encodeNpy(array);
  expect(parseNpy(bytes)).toEqual(array);
  // From an odd place in memory.
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  expect(parseNpy(shifted.subarray(1))).toEqual(array);
});

test.each([
  [0, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 152],
  [4, "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4), }", 128],
  [2, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", 140],
])("array %d is what NumPy writes", (index, header, size) => {
  const bytes = Buffer.from(encodeNpy(ARRAYS[index]!));
  const wanted = `\x93NUMPY\x01\x00v\x00${header.padEnd(117)}\n`;
  expect(bytes.toString("latin1", 0, 128)).toBe(wanted);
  expect(bytes.length).toBe(size);
});

test.each<[string, string, number, NpyArray["data"], number[]]>([
  ["version 2", dict("<f4", "False", "(2,)"), 2, Float32Array.of(1, 2), [2]],
  ["version 3", dict("<f4", "False", "(2,)"), 3, Float32Array.of(1, 2), [2]],
  [
    "other quotes and order, no last comma",
    `{"shape":(1,2,),'fortran_order':False,"descr":"=i8"}`,
    1,
    BigInt64Array.of(7n, 8n),
    [1, 2],
  ],
  ["integers of Python 2", dict("|i1", "False", "(2L,)"), 1, Int8Array.of(1, 2), [2]],
])("reads %s", (_, header, version, data, shape) => {
  expect(parseNpy(file(header, bytesOf(data), version))).toMatchObject({ shape, data });
});

test("Fortran order becomes row-major", () => {
  const columns = Int32Array.of(0, 10, 1, 11, 2, 12);
  expect(parseNpy(file(dict("<i4", "True", "(2, 3)"), bytesOf(columns))).data).toEqual(
    Int32Array.of(0, 1, 2, 10, 11, 12),
  );
  const shape = [2, 3, 4];
  const value = (a: number, b: number, c: number) => 100 * a + 10 * b + c;
  const data = new Uint8Array(24);
  const wanted = new Uint8Array(24);
  for (let a = 0; a < 2; a++)
    for (let b = 0; b < 3; b++)
      for (let c = 0; c < 4; c++) {
        data[a + 2 * b + 6 * c] = value(a, b, c);
        wanted[12 * a + 4 * b + c] = value(a, b, c);
      }
  expect(parseNpy(file(dict("|u1", "True", `(${shape.join(", ")})`), data)).data).toEqual(wanted);
});

const two = Buffer.alloc(8);
test.each<[string, Uint8Array, RegExp]>([
  ["nothing", new Uint8Array(0), /signature/],
  ["another signature", Buffer.from("\x93NUMPZ\x01\x00\x00\x00", "latin1"), /signature/],
  ["version 4", file(dict("<f4", "False", "(2,)"), two, 4), /version/],
  ["a cut header", file(dict("<f4", "False", "(2,)")).subarray(0, 40), /whole header/],
  ["a cut length", file("{}", two, 2).subarray(0, 11), /whole header/],
  ["a header of 4 GiB", Buffer.from("\x93NUMPY\x02\x00\xff\xff\xff\xff", "latin1"), /at most/],
  ["short data", file(dict("<f4", "False", "(3,)"), two), /12 bytes/],
  ["long data", file(dict("<f4", "False", "(1,)"), two), /4 bytes/],
  ["a huge shape", file(dict("<f4", "False", "(99999999999, 99999999999)"), two), /bytes of data/],
  ["an unsafe size", file(dict("<f4", "False", "(9999999999999999,)"), two), /integer/],
  ["a negative size", file(dict("<f4", "False", "(-1,)"), two), /integer/],
  ["many dimensions", file(dict("<f4", "False", `(${"1, ".repeat(65)})`), two.subarray(4)), /64/],
  ["no tuple", file(dict("<f4", "False", "(2)"), two), /","/],
  ["big-endian", file(dict(">f4", "False", "(2,)"), two), /little-endian/],
  ["pickled objects", file(dict("|O", "False", "(1,)"), two), /little-endian/],
  ["fields", file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", two), /fields/],
  ["code", file("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}"), /string/],
  ["an escape", file("{'descr': '\\x3cf4', 'fortran_order': False, 'shape': ()}"), /string/],
  ["a missing key", file("{'descr': '<f4', 'shape': (2,)}", two), /fortran_order/],
  ["another key", file("{'descr': '<f4', 'a': 1}"), /once each/],
  ["a key twice", file("{'descr': '<f4', 'descr': '<f4'}"), /once each/],
  ["a number for a flag", file(dict("<f4", "1", "(2,)"), two), /False/],
  ["text after the dict", file(`${dict("<f4", "False", "(2,)")} x`, two), /after/],
  ["bytes that are no UTF-8", Buffer.concat([file("{", Buffer.of(0xff), 3)]), /header/],
])("refuses %s", (_, bytes, message) => {
  expect(() => parseNpy(bytes)).toThrow(FormatError);
  expect(() => parseNpy(bytes)).toThrow(message);
});

test("a hostile file gives a FormatError or an array, never anything else", () => {
  const good = ARRAYS.map(encodeNpy);
  const edits = fc.array(fc.tuple(fc.nat(140), fc.integer({ min: 0, max: 255 })), { maxLength: 5 });
  fc.assert(
    fc.property(fc.constantFrom(...good), edits, fc.nat(20), (base, changes, cut) => {
      const bytes = base.slice(0, base.length - cut);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      try {
        parseNpy(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }),
    { numRuns: 2000 },
  );
});

test.each<[string, Partial<NpyArray>, new (message: string) => Error]>([
  ["another array", { data: new Int32Array(6) }, ArgumentError],
  ["another dtype", { dtype: "uint16" as "uint8" }, ArgumentError],
  ["a wrong shape", { shape: [2, 2] }, ShapeError],
  ["a negative shape", { shape: [-2, -3] }, ShapeError],
])("the writer refuses %s", (_, change, error) => {
  expect(() => encodeNpy({ ...ARRAYS[0]!, ...change })).toThrow(error);
});

test("reads from disk", async () => {
  const folder = mkdtempSync(join(tmpdir(), "osculate-npy-"));
  try {
    const path = join(folder, "a.npy");
    writeFileSync(path, encodeNpy(ARRAYS[0]!));
    expect(await readNpy(path)).toEqual(ARRAYS[0]);
    await expect(readNpy(join(folder, "b.npy"))).rejects.toThrow(IoError);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
