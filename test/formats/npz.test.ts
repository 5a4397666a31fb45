import fc from "fast-check";
import { zipSync } from "fflate";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, FormatError, IoError } from "../../lib/errors.js";
import { encodeNpy, type NpyArray } from "../../lib/formats/npy.js";
import { encodeNpz, parseNpz, readNpz } from "../../lib/formats/npz.js";

const ARRAYS = new Map<string, NpyArray>([
  ["x", { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
  ["10", { dtype: "int64", shape: [1], data: BigInt64Array.of(5n) }],
  ["2", { dtype: "uint8", shape: [0], data: new Uint8Array(0) }],
  ["a name/\u00e9", { dtype: "bool", shape: [], data: Uint8Array.of(1) }],
]);

/** savez_compressed(x=<f8 [2, 3] of 0..5 in Fortran order>, y=[True, False]) of NumPy 2.4. */
const NUMPY = Buffer.from(
  "UEsDBC0AAAAIAAAAIQDkyAZg//////////8FABQAeC5ucHkBABAAsAAAAAAAAABXAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqGuo6Cell9UUpSYF59flJIKEg8pKk0FChdnJBakArkaRjoKxpo6CrUK5AMuBhTA4QChP9hDaAEonwFKizgAAFBLAwQtAAAACAAAACEA7hm7Xf//////////BQAUAHkubnB5AQAQAIIAAAAAAAAARgAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBek2SorqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOpo6CrUKFAAuRgYAUEsBAi0DLQAAAAgAAAAhAOTIBmBXAAAAsAAAAAUAAAAAAAAAAAAAAIABAAAAAHgubnB5UEsBAi0DLQAAAAgAAAAhAO4Zu11GAAAAggAAAAUAAAAAAAAAAAAAAIABjgAAAHkubnB5UEsFBgAAAAACAAIAZgAAAAsBAAAAAA==",
  "base64",
);

test.each([[false], [true]])("arrays come back in their order, compress %p", (compress) => {
  const bytes = encodeNpz(ARRAYS, { compress });
  expect([...parseNpz(bytes)]).toEqual([...ARRAYS]);
  expect(encodeNpz(ARRAYS, { compress })).toEqual(bytes);
});

test("reads what NumPy writes", () => {
  expect(parseNpz(NUMPY)).toEqual(
    new Map<string, NpyArray>([
      ["x", { dtype: "float64", shape: [2, 3], data: Float64Array.of(0, 1, 2, 3, 4, 5) }],
      ["y", { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) }],
    ]),
  );
});

test("an empty zip is no arrays", () => {
  expect(parseNpz(zipSync({})).size).toBe(0);
  expect(parseNpz(encodeNpz(new Map())).size).toBe(0);
});

const npy = encodeNpy(ARRAYS.get("x")!);
/** A zip of `name` whose directory claims another field (offset in the entry, value). */
function lying(files: Parameters<typeof zipSync>[0], at: number, value: number, bytes = 4): Buffer {
  const zip = Buffer.from(zipSync(files, { level: 6 }));
  const directory = zip.indexOf(Buffer.from("PK\x01\x02", "latin1"));
  zip.writeUIntLE(value, directory + at, bytes);
  return zip;
}
const SIZE = 24;
const METHOD = 10;
const NAME = 46;

test.each<[string, Uint8Array, RegExp]>([
  ["nothing", new Uint8Array(0), /zip/],
  ["no zip", Buffer.alloc(100), /zip/],
  ["a cut zip", zipSync({ "a.npy": npy }).subarray(0, 150), /zip/],
  ["another file", zipSync({ "a.npy": npy, "b.txt": npy }), /only \.npy/],
  ["a folder", zipSync({ "d/": new Uint8Array(0) }), /only \.npy/],
  ["a file that is no array", zipSync({ "a.npy": Buffer.alloc(64) }), /signature/],
  ["an impossible size", lying({ "a.npy": npy }, SIZE, 0xfffffff0), /at most/],
  ["a size that is too large", lying({ "a.npy": npy }, SIZE, npy.length + 1), /145 bytes/],
  ["a size that is too small", lying({ "a.npy": npy }, SIZE, npy.length - 1), /bytes of data/],
  ["another method", lying({ "a.npy": npy }, METHOD, 93, 2), /method 93/],
  ["a name twice", lying({ "a.npy": npy, "b.npy": npy }, NAME, 0x62, 1), /once/],
])("refuses %s", (_, bytes, message) => {
  expect(() => parseNpz(bytes)).toThrow(FormatError);
  expect(() => parseNpz(bytes)).toThrow(message);
});

test("a bomb is refused before it is opened", () => {
  const zeros = { dtype: "uint8", shape: [2 ** 20], data: new Uint8Array(2 ** 20) } as const;
  const names = ["a", "b", "c"];
  const bytes = encodeNpz(new Map(names.map((name) => [name, zeros])), { compress: true });
  expect(bytes.length).toBeLessThan(10_000);
  expect(() => parseNpz(bytes, { maxBytes: 3 * 2 ** 20 })).toThrow(/at most/);
  expect(parseNpz(bytes, { maxBytes: 4 * 2 ** 20 }).size).toBe(3);
});

test("a hostile file gives a FormatError or arrays, never anything else", () => {
  const good = [encodeNpz(ARRAYS), encodeNpz(ARRAYS, { compress: true }), NUMPY];
  const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 5 });
  fc.assert(
    fc.property(fc.constantFrom(...good), edits, fc.nat(30), (base, changes, cut) => {
      const bytes = Uint8Array.from(base).subarray(0, base.length - cut);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      try {
        parseNpz(bytes, { maxBytes: 2 ** 20 });
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }),
    { numRuns: 1000 },
  );
});

test("reads from disk; refuses an empty name", async () => {
  expect(() => encodeNpz(new Map([["", ARRAYS.get("x")!]]))).toThrow(ArgumentError);
  const folder = mkdtempSync(join(tmpdir(), "osculate-npz-"));
  try {
    const path = join(folder, "a.npz");
    writeFileSync(path, encodeNpz(ARRAYS));
    expect(await readNpz(path)).toEqual(ARRAYS);
    await expect(readNpz(join(folder, "b.npz"))).rejects.toThrow(IoError);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
