import fc from "fast-check";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { FormatError, IoError } from "../../lib/errors.js";
import { parseIdx, readIdx } from "../../lib/formats/idx.js";

/** A file as the format's description builds it. */
function idx(shape: readonly number[], data: Uint8Array, type = 0x08, rank = shape.length): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, rank]);
  shape.forEach((dimension, axis) => header.writeUInt32BE(dimension, 4 + 4 * axis));
  return Buffer.concat([header, data]);
}

test("every array comes back", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 4 }),
      fc.infiniteStream(fc.nat(255)),
      (shape, values) => {
        const size = shape.reduce((product, dimension) => product * dimension, 1);
        const data = Uint8Array.from({ length: size }, () => values.next().value as number);
        const array = parseIdx(idx(shape, data));
        expect(array.shape).toEqual(shape);
        expect(Buffer.from(array.data)).toEqual(Buffer.from(data));
      },
    ),
  );
});

const six = Uint8Array.from([1, 2, 3, 4, 5, 6]);

test.each<[string, Uint8Array, RegExp]>([
  ["nothing", new Uint8Array(0), /two zero bytes/],
  ["three bytes", Uint8Array.of(0, 0, 8), /two zero bytes/],
  ["another magic number", Buffer.from("PK\x08\x01\0\0\0\0"), /two zero bytes/],
  ["float32 elements", idx([6], six, 0x0d), /unsigned bytes.*"0x0d"/],
  ["an unknown element type", idx([6], six, 0x00), /unsigned bytes.*"0x00"/],
  ["no dimension", idx([], Uint8Array.of(7)), /1 to 8 dimensions/],
  ["nine dimensions", idx(Array<number>(9).fill(1), Uint8Array.of(7)), /1 to 8 dimensions/],
  ["a header cut short", idx([2, 3], six).subarray(0, 11), /header of 12 bytes/],
  ["a byte too few", idx([2, 3], six.subarray(1)), /6 bytes of data.*5/],
  ["a byte too many", idx([5], six), /5 bytes of data.*6/],
  ["a huge claim", idx([2 ** 32 - 1, 2 ** 32 - 1], six), /bytes of data/],
  ["dimensions whose product wraps to the right size", idx([2 ** 31, 2, 6], six), /bytes of data/],
])("refuses %s", (_, bytes, message) => {
  expect(() => parseIdx(bytes)).toThrow(FormatError);
  expect(() => parseIdx(bytes)).toThrow(message);
});

describe("readIdx", () => {
  const folder = mkdtempSync(join(tmpdir(), "osculate-idx-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  const file = (name: string, bytes: Uint8Array) => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const zipped = gzipSync(idx([2, 3], six));

  test.each([
    ["plain", idx([2, 3], six)],
    ["gzipped", zipped],
    [
      "in two gzip members",
      Buffer.concat([gzipSync(idx([2, 3], six.subarray(0, 1))), gzipSync(six.subarray(1))]),
    ],
  ])("a file that is %s", async (_, bytes) => {
    const array = await readIdx(file("good", bytes));
    expect(array.shape).toEqual([2, 3]);
    expect([...array.data]).toEqual([...six]);
  });

  test.each<[string, Uint8Array]>([
    ["empty", new Uint8Array(0)],
    ["a truncated gzip", zipped.subarray(0, zipped.length - 9)],
    ["a gzip with a wrong checksum", Buffer.concat([zipped.subarray(0, -8), Buffer.alloc(8)])],
    ["a gzip of something else", gzipSync("hello")],
    ["the start of a gzip", Uint8Array.of(0x1f, 0x8b)],
  ])("refuses %s, by name", async (_, bytes) => {
    const path = file("bad", bytes);
    const error = await readIdx(path).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toContain(path);
  });

  test("a gzip bomb stops at the limit", async () => {
    const path = file("bomb", gzipSync(Buffer.alloc(1 << 20)));
    await expect(readIdx(path, { maxBytes: 1 << 19 })).rejects.toThrow(FormatError);
  });

  test("a missing file", async () => {
    await expect(readIdx(join(folder, "none"))).rejects.toThrow(IoError);
  });
});
