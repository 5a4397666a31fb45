import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ArgumentError,
  DisposedError,
  FormatError,
  IoError,
  ShapeError,
} from "../../lib/errors.js";
import { parseSafetensorsHeader, safetensorsBits } from "../../lib/formats/safetensors-header.js";
import {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsTensor,
  writeSafetensors,
} from "../../lib/formats/safetensors.js";
import vectors from "../vectors/safetensors.json" with { type: "json" };

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "osculate-safetensors-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const parse = (bytes: Uint8Array) => parseSafetensorsHeader(bytes, bytes.length);

/** A file with this header text, padded or not as given, and `dataBytes` zeros. */
function file(header: string, dataBytes = 0): Buffer {
  const text = Buffer.from(header);
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([start, text, Buffer.alloc(dataBytes)]);
}

function reasonOf(bytes: Uint8Array): unknown {
  try {
    parse(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return (error as FormatError).details["reason"];
  }
  return "accepted";
}

/** The first failing row of the table of the format's description. */
const BAD: Record<string, string> = {
  shorter_than_8: "HeaderTooSmall",
  header_len_past_eof: "InvalidHeaderLength",
  header_len_over_100e6: "HeaderTooLarge",
  header_len_u64_max: "HeaderTooLarge",
  not_utf8: "InvalidHeader",
  not_json: "InvalidHeaderDeserialization",
  starts_with_space: "InvalidHeaderStart",
  top_level_array: "InvalidHeaderStart",
  unknown_dtype: "InvalidHeaderDeserialization",
  offsets_reversed: "InvalidOffset",
  size_mismatch: "TensorInvalidInfo",
  gap_at_start: "InvalidOffset",
  overlap: "InvalidOffset",
  trailing_bytes: "MetadataIncompleteBuffer",
  truncated_data: "MetadataIncompleteBuffer",
  shape_overflow: "ValidationOverflow",
  negative_dim: "InvalidHeaderDeserialization",
  float_dim: "InvalidHeaderDeserialization",
  duplicate_key: "InvalidHeaderDeserialization",
  metadata_not_string_values: "InvalidHeaderDeserialization",
  missing_field: "InvalidHeaderDeserialization",
  three_offsets: "InvalidHeaderDeserialization",
};

describe("reading", () => {
  test("every malformed vector has its row here", () => {
    expect(vectors.bad.map(({ name }) => name).sort()).toEqual(Object.keys(BAD).sort());
  });

  test.each(vectors.bad)("refuses $name", async ({ name, hex }) => {
    const bytes = Buffer.from(hex, "hex");
    expect(reasonOf(bytes)).toBe(BAD[name]);
    const path = join(folder, "bad.safetensors");
    writeFileSync(path, bytes);
    await expect(readSafetensors(path)).rejects.toMatchObject({
      code: "FORMAT",
      details: { reason: BAD[name], path },
    });
  });

  test.each(vectors.good)("accepts $name", async ({ hex, tensors = {} }) => {
    const path = join(folder, "good.safetensors");
    writeFileSync(path, Buffer.from(hex, "hex"));
    const opened = await readSafetensors(path);
    expect([...opened.entries.keys()].sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, wanted] of Object.entries(tensors)) {
      expect(opened.entries.get(name)).toMatchObject({ dtype: wanted.dtype, shape: wanted.shape });
      const data = await opened.read(name);
      if ("values" in wanted) expect(Array.from(data as Float32Array)).toEqual(wanted.values);
    }
    await opened.close();
  });

  const entry = (dtype: string, shape: string, begin: string | number, end: string | number) =>
    `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;
  const one = entry("F32", "[1]", 0, 4);
  const D = "InvalidHeaderDeserialization";
  test.each([
    ["an empty header", "", 0, D],
    ["only an opening brace", "{", 0, D],
    ["text after the object", "{}x", 0, D],
    ["any white space after the object", "{}\n\t ", 0, "accepted"],
    ["a header of odd length", `{"a":${one}} `, 4, "accepted"],
    ["unknown fields", `{"a":{"x":[null,true,1.5e3,{}],${one.slice(1)}}`, 4, "accepted"],
    ["a byte order mark", "\ufeff{}", 0, "InvalidHeaderStart"],
    ["a lone surrogate in a name", `{"\\ud800":${one}}`, 4, D],
    ["a control character in a name", `{"a\u0001":${one}}`, 4, D],
    ["an unterminated name", '{"a\\', 0, D],
    ["too deep nesting", `{"a":${"[".repeat(9)}${"]".repeat(9)}}`, 0, D],
    ["duplicate fields", `{"a":{"dtype":"F32",${one.slice(1)}}`, 4, D],
    ["an escaped duplicate", `{"a":${one},"\\u0061":${one}}`, 4, D],
    ["duplicate metadata", `{"__metadata__":{"a":"1","a":"2"}}`, 0, D],
    ["metadata that is null", `{"__metadata__":null}`, 0, D],
    ["a tensor that is null", `{"a":null}`, 0, D],
    ["a dtype of Object.prototype", `{"a":${entry("toString", "[1]", 0, 4)}}`, 4, D],
    ["a minus zero", `{"a":${entry("F32", "[-0]", 0, 0)}}`, 0, D],
    ["an exponent", `{"a":${entry("F32", "[1e0]", 0, 4)}}`, 4, D],
    ["a leading zero", `{"a":${entry("F32", "[01]", 0, 4)}}`, 4, D],
    ["a dimension above u64", `{"a":${entry("F32", "[18446744073709551616]", 0, 4)}}`, 4, D],
    [
      "an offset above 2^53",
      `{"a":${entry("U8", "[1]", 0, "9007199254740993")}}`,
      4,
      "TensorInvalidInfo",
    ],
    [
      "bytes above u64",
      `{"a":${entry("F64", "[4611686018427387904]", 0, 4)}}`,
      4,
      "ValidationOverflow",
    ],
    ["0 elements", `{"a":${entry("F32", "[0,3]", 0, 0)},"b":${one}}`, 4, "accepted"],
    [
      "0 elements of unsafe size",
      `{"a":${entry("F32", "[0,9007199254740993]", 0, 0)}}`,
      0,
      "ValidationOverflow",
    ],
    ["half a byte", `{"a":${entry("F4", "[3]", 0, 1)}}`, 1, "TensorInvalidInfo"],
    ["opaque 6-bit types", `{"a":${entry("F6_E2M3", "[4]", 0, 3)}}`, 3, "accepted"],
    ["no tensors but data", "{}", 1, "MetadataIncompleteBuffer"],
  ])("%s", (_, header, dataBytes, wanted) => {
    expect(reasonOf(file(header, dataBytes))).toBe(wanted);
  });

  test("a name is data: no prototype is touched", () => {
    const { entries } = parse(file(`{"__proto__":${one}}`, 4));
    expect(entries.get("__proto__")).toEqual({ dtype: "F32", shape: [1], offsets: [0, 4] });
    expect(({} as Record<string, unknown>)["dtype"]).toBeUndefined();
  });

  test("needs the whole header, and says what else went wrong", async () => {
    expect(() => parseSafetensorsHeader(file("{}").subarray(0, 9), 10)).toThrow(ArgumentError);
    await expect(readSafetensors(join(folder, "nothing"))).rejects.toThrow(IoError);
    await expect(readSafetensors(folder)).rejects.toThrow(IoError);
    const path = join(folder, "cut.safetensors");
    writeFileSync(path, file(`{"a":${one}}`, 4));
    const opened = await readSafetensors(path);
    await expect(opened.read("b")).rejects.toThrow(ArgumentError);
    truncateSync(path, 40);
    await expect(opened.read("a")).rejects.toThrow(IoError);
    await opened.close();
    await opened.close();
    await expect(opened.read("a")).rejects.toThrow(DisposedError);
  });

  test("a hostile file gives a FormatError or a header, never anything else", () => {
    const good = vectors.good.map(({ hex }) => Buffer.from(hex, "hex"));
    const mutation = fc.record({
      base: fc.constantFrom(...good),
      edits: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
      cut: fc.integer({ min: 0, max: 40 }),
    });
    fc.assert(
      fc.property(mutation, ({ base, edits, cut }) => {
        const bytes = Buffer.from(base.subarray(0, base.length - Math.min(cut, base.length)));
        for (const [at, value] of edits) if (bytes.length > 0) bytes[at % bytes.length] = value;
        reasonOf(bytes);
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.json(), (text) => {
        reasonOf(file(text));
      }),
      { numRuns: 500 },
    );
  });

  test("a megabyte of escapes or brackets is no crash", () => {
    expect(reasonOf(file(`{"${"\\n".repeat(1e6)}":1}`))).toBe(D);
    expect(reasonOf(file(`{"a":${"[".repeat(1e6)}`))).toBe(D);
    expect(reasonOf(file(`{"a":${"9".repeat(1e6)}}`))).toBe(D);
  });
});

describe("writing", () => {
  const join8 = (chunks: Uint8Array[]) => Buffer.concat(chunks).toString("hex");
  const vector = (name: string) => vectors.good.find((good) => good.name === name)?.hex;

  test("the two reference files, byte for byte", () => {
    expect(join8(encodeSafetensors(new Map()))).toBe(vector("empty"));
    const data = Float32Array.of(0, 1, 2, 3, 4, 5);
    const tensors = new Map([["attn.0", { dtype: "F32" as const, shape: [1, 2, 3], data }]]);
    expect(join8(encodeSafetensors(tensors))).toBe(vector("one_f32"));
  });

  test("sorts by dtype, then by the UTF-8 bytes of the name", () => {
    const dtypes = {
      c: "I64",
      e: "F64",
      b: "F32",
      h: "U32",
      d: "I32",
      a: "F16",
      f: "U8",
      g: "BOOL",
      i: "U64",
    };
    const tensors = new Map<string, SafetensorsTensor>();
    const add = (name: string, dtype: SafetensorsTensor["dtype"]) =>
      tensors.set(name, { dtype, shape: [1], data: new Uint8Array(safetensorsBits(dtype) / 8) });
    for (const [name, dtype] of Object.entries(dtypes)) add(name, dtype as "I64");
    // UTF-16 order would put the astral name before the private-use one.
    for (const name of ["\u{1F600}", "\uE000"]) add(name, "BOOL");
    const { entries, metadata } = parse(
      Buffer.concat(encodeSafetensors(tensors, { format: "pt", 'q"': "\n" })),
    );
    expect([...entries.keys()].join("")).toBe("icebhdafg\uE000\u{1F600}");
    expect([...metadata]).toEqual([
      ["format", "pt"],
      ['q"', "\n"],
    ]);
  });

  test("what is written is read back, on disk", async () => {
    const data = {
      F32: Float32Array.of(1.5, -2),
      F64: Float64Array.of(Math.PI),
      I64: BigInt64Array.of(-1n, 2n ** 62n),
      U64: BigUint64Array.of(2n ** 64n - 1n),
      I32: Int32Array.of(-7, 7),
      U32: Uint32Array.of(4294967295),
      I16: Int16Array.of(-3),
      U16: Uint16Array.of(65535),
      F16: Uint16Array.of(0x3c00),
      BF16: Uint16Array.of(0x3f80),
      I8: Int8Array.of(-128),
      U8: new Uint8Array(0),
      BOOL: Uint8Array.of(1, 0, 1),
      F8_E4M3: Uint8Array.of(7),
    } as const;
    const tensors = new Map<string, SafetensorsTensor>(
      Object.entries(data).map(([dtype, values]) => [
        `the ${dtype}`,
        { dtype: dtype as "F32", shape: [1, values.length], data: values },
      ]),
    );
    const path = join(folder, "all.safetensors");
    await writeSafetensors(path, tensors, new Map([["a", "b"]]));
    const opened = await readSafetensors(path);
    for (const [name, tensor] of tensors) expect(await opened.read(name)).toEqual(tensor.data);
    expect(opened.metadata).toEqual(new Map([["a", "b"]]));
    await opened.close();
    expect(readFileSync(path).readBigUInt64LE(0) % 8n).toBe(0n);
  });

  const tensor: SafetensorsTensor = { dtype: "F32", shape: [1], data: new Float32Array(1) };
  test.each<[string, string, Partial<SafetensorsTensor>, new (message: string) => Error]>([
    ["a reserved name", "__metadata__", {}, ArgumentError],
    ["a lone surrogate", "\ud800", {}, ArgumentError],
    ["an opaque dtype", "a", { dtype: "F4" }, ArgumentError],
    ["another array", "a", { data: new Int32Array(1) }, ArgumentError],
    ["a wrong length", "a", { shape: [2] }, ShapeError],
    ["a negative size", "a", { shape: [-1] }, ShapeError],
  ])("refuses %s", (_, name, change, error) => {
    expect(() => encodeSafetensors(new Map([[name, { ...tensor, ...change }]]))).toThrow(error);
  });
});
