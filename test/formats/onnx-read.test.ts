import { execFileSync } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { FormatError, IoError } from "../../lib/errors.js";
import { parseOnnx, readOnnx } from "../../lib/formats/onnx/index.js";
import type { TensorProto } from "../../lib/formats/onnx/index.js";
import { ModelProtoSchema, TensorProtoSchema } from "../../lib/formats/onnx/onnx_pb.js";
import {
  buildModel,
  buildModelBytes,
  constant,
  fakeData,
  node,
  tensor,
  valueInfo,
} from "../helpers/onnx-build.js";

const bytes = buildModelBytes({
  nodes: [
    constant(tensor("c", [2, 2], fakeData(4))),
    node("MatMul", ["x", "w"], ["a"], { note: "text", scale: { f: 0.5 }, list: [1, 2] }),
    node("Add", ["a", "c"], ["y"]),
  ],
  initializers: [tensor("w", [2, 2], fakeData(4))],
  inputs: [valueInfo("x", ["batch", 2])],
  outputs: [valueInfo("y")],
});

function reasonOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    if (error instanceof FormatError) return error.details["reason"];
    throw error;
  }
  return "no error";
}

const text = (value: string) => new TextEncoder().encode(value);
const record = (field: number, payload: Uint8Array | number[]): number[] => {
  const length: number[] = [];
  for (let n = payload.length; ; n >>>= 7) {
    length.push(n < 128 ? n : (n & 127) | 128);
    if (n < 128) break;
  }
  return [field * 8 + 2, ...length, ...payload];
};

describe("bytes that are no model", () => {
  test.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(), "truncated"],
    ["text", text("not a model at all, just text"), "not-onnx"],
    ["JSON", text('{"graph": []}'), "not-onnx"],
    ["a PNG", Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0xd, 0xa, 0x1a, 0xa, 0, 0, 0, 0xd), "not-onnx"],
    ["a ZIP", text("PK\u0003\u0004\u0014\u0000\u0000"), "not-onnx"],
    ["zeros", new Uint8Array(64), "not-onnx"],
    ["an LFS pointer", text("version https://git-lfs\noid sha256:00\n"), "not-onnx"],
    ["another protobuf", Uint8Array.from(record(7, record(2, text("graph")))), "not-onnx"],
    ["a length beyond the end", bytes.subarray(0, bytes.length - 20), "truncated"],
    ["a wrong inner length", Uint8Array.from([8, 8, ...record(7, [0x0a, 100, 0])]), "damaged"],
    ["a wrong wire type", Uint8Array.from([8, 8, 0x38, 1]), "damaged"],
  ])("%s", (_, data, reason) => {
    expect(reasonOf(() => parseOnnx(data))).toBe(reason);
  });

  test("an empty graph", () => {
    const empty = buildModelBytes({ nodes: [], inputs: [], outputs: [] });
    expect(reasonOf(() => parseOnnx(empty))).toBe("empty-graph");
  });

  test("every proper prefix of a model is refused", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(["truncated", "not-onnx"]).toContain(
        reasonOf(() => parseOnnx(bytes.subarray(0, length))),
      );
    }
    expect(parseOnnx(bytes).graph.node).toHaveLength(3);
  });

  test("damaged bytes give a FormatError or a model, never another error", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (edits) => {
          const copy = bytes.slice();
          for (const [at, value] of edits) copy[at] = value;
          reasonOf(() => {
            const model = parseOnnx(copy);
            for (const t of model.graph.initializer) model.tensorData(t);
          });
        },
      ),
      { numRuns: 2000, seed: 1 },
    );
  });

  test("nesting without end", () => {
    let graph: number[] = [];
    // graph -> node -> attribute -> graph
    for (let i = 0; i < 1000; i++) graph = record(1, record(5, record(6, graph)));
    const deep = Uint8Array.from([8, 8, ...record(7, graph)]);
    expect(reasonOf(() => parseOnnx(deep))).toBe("too-large");
  });

  test("more records than memory", () => {
    const bomb = new Uint8Array(10_000_000);
    // Field 9, which nobody knows, number 0, again and again.
    for (let at = 0; at < bomb.length; at += 2) bomb[at] = 0x48;
    bomb.set([8, 8]);
    expect(reasonOf(() => parseOnnx(bomb))).toBe("too-large");
  });

  test("a file that is not there is an IoError that names it", async () => {
    const reading = readOnnx("/nowhere/model.onnx");
    await expect(reading).rejects.toBeInstanceOf(IoError);
    await expect(reading).rejects.toThrow(/\/nowhere\/model\.onnx/);
  });
});

describe("tensorData", () => {
  const model = parseOnnx(bytes);
  const make = (init: Parameters<typeof create<typeof TensorProtoSchema>>[1]): TensorProto =>
    create(TensorProtoSchema, { name: "t", ...init });
  const values = (t: TensorProto) => Array.from(model.tensorData(t).data as Float32Array);

  test.each<[string, TensorProto, unknown[]]>([
    ["raw float32", tensor("t", [2], Float32Array.of(1.5, -2)), [1.5, -2]],
    ["float_data", make({ dims: [2n], dataType: 1, floatData: [1.5, -2] }), [1.5, -2]],
    ["int32_data", make({ dims: [2n], dataType: 6, int32Data: [1, -2] }), [1, -2]],
    ["int8 in int32_data", make({ dims: [2n], dataType: 3, int32Data: [1, -2] }), [1, -2]],
    ["uint8 in int32_data", make({ dims: [1n], dataType: 2, int32Data: [200] }), [200]],
    ["float16 in int32_data", make({ dims: [1n], dataType: 10, int32Data: [0x3c00] }), [0x3c00]],
    ["int64_data", make({ dims: [2n], dataType: 7, int64Data: [1n, -2n] }), [1n, -2n]],
    ["double_data", make({ dims: [1n], dataType: 11, doubleData: [0.1] }), [0.1]],
    [
      "uint32 in uint64_data",
      make({ dims: [1n], dataType: 12, uint64Data: [2n ** 32n - 1n] }),
      [2 ** 32 - 1],
    ],
    ["uint64_data", make({ dims: [1n], dataType: 13, uint64Data: [2n ** 63n] }), [2n ** 63n]],
    ["raw int64", tensor("t", [1], BigInt64Array.of(-5n), "int64"), [-5n]],
    ["raw uint4", tensor("t", [3], Uint8Array.of(0xf1, 0x0a), "uint4"), [1, 15, 10]],
    ["raw int4", tensor("t", [3], Uint8Array.of(0xf1, 0x0a), "int4"), [1, -1, -6]],
    ["int4 in int32_data", make({ dims: [2n], dataType: 22, int32Data: [0x8f] }), [-1, -8]],
    ["a scalar", tensor("t", [], Float32Array.of(7)), [7]],
    ["no elements", make({ dims: [0n, 3n], dataType: 1 }), []],
    [
      "empty raw data beside values",
      make({ dims: [1n], dataType: 1, floatData: [3], rawData: new Uint8Array() }),
      [3],
    ],
  ])("%s", (_, t, want) => {
    expect(values(t)).toEqual(want);
  });

  test("unaligned raw data", () => {
    const shifted = new Uint8Array(9);
    shifted.set(new Uint8Array(Float32Array.of(1.5, 2.5).buffer), 1);
    expect(values(make({ dims: [2n], dataType: 1, rawData: shifted.subarray(1) }))).toEqual([
      1.5, 2.5,
    ]);
  });

  test.each<[string, TensorProto, RegExp]>([
    [
      "too few bytes",
      make({ dims: [2n], dataType: 1, rawData: new Uint8Array(7) }),
      /8 bytes .* 7 raw bytes/,
    ],
    ["too few values", make({ dims: [2n], dataType: 1, floatData: [1] }), /2 values .* 1 values/],
    ["no data", make({ dims: [2n], dataType: 1 }), /2 values .* 0 values/],
    ["strings", make({ dims: [1n], dataType: 8 }), /data_type 8/],
    ["a negative dimension", make({ dims: [-1n], dataType: 1 }), /a shape/],
    ["an absurd shape", make({ dims: [2n ** 40n, 2n ** 40n], dataType: 1 }), /a shape/],
  ])("refused: %s", (_, t, message) => {
    expect(() => model.tensorData(t)).toThrow(FormatError);
    expect(() => model.tensorData(t)).toThrow(message);
  });
});

describe("external data", () => {
  let root: string;
  let folder: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "osculate-onnx-"));
    folder = join(root, "model");
    mkdirSync(join(folder, "sub"), { recursive: true });
    const data = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
    writeFileSync(join(folder, "w.data"), data);
    writeFileSync(join(folder, "sub", "w.data"), data);
    writeFileSync(join(root, "outside.data"), data);
    symlinkSync("../outside.data", join(folder, "link.data"));
    symlinkSync("..", join(folder, "up"));
    symlinkSync("w.data", join(folder, "inner.data"));
    execFileSync("mkfifo", [join(folder, "pipe.data")]);
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  async function read(entries: Record<string, string>, inAttribute = false) {
    const proto = buildModel({
      nodes: [node("MatMul", ["x", "w"], ["y"])],
      inputs: [valueInfo("x")],
      outputs: [valueInfo("y")],
    });
    const t = create(TensorProtoSchema, {
      name: "w",
      dims: [2n, 2n],
      dataType: 1,
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    });
    if (inAttribute) proto.graph!.node.unshift(constant(t));
    else proto.graph!.initializer.push(t);
    writeFileSync(join(folder, "model.onnx"), toBinary(ModelProtoSchema, proto));
    const model = await readOnnx(join(folder, "model.onnx"));
    const found = inAttribute ? model.graph.node[0]!.attribute[0]!.t! : model.graph.initializer[0]!;
    return Array.from(model.tensorData(found).data as Float32Array);
  }

  test.each<[string, Record<string, string>, number[]]>([
    ["offset and length", { location: "w.data", offset: "4", length: "16" }, [1, 2, 3, 4]],
    ["to the end", { location: "w.data", offset: "8" }, [2, 3, 4, 5]],
    ["a folder below", { location: "sub/w.data", length: "16" }, [0, 1, 2, 3]],
    ["a detour", { location: "sub/../w.data", length: "16" }, [0, 1, 2, 3]],
    ["a link inside", { location: "inner.data", length: "16" }, [0, 1, 2, 3]],
  ])("read: %s", async (_, entries, want) => {
    expect(await read(entries)).toEqual(want);
    expect(await read(entries, true)).toEqual(want);
  });

  test.each<[string, Record<string, string>, string]>([
    ["missing", { location: "gone.data" }, "external-missing"],
    ["a folder", { location: "sub" }, "external-missing"],
    ["a pipe", { location: "pipe.data" }, "external-missing"],
    ["dots", { location: "../outside.data", length: "16" }, "external-outside"],
    ["dots inside", { location: "sub/../../outside.data", length: "16" }, "external-outside"],
    ["absolute", { location: "/etc/hostname" }, "external-outside"],
    ["drive letter", { location: "C:\\data" }, "external-outside"],
    ["a link to a file outside", { location: "link.data", length: "16" }, "external-outside"],
    [
      "a link to a folder outside",
      { location: "up/outside.data", length: "16" },
      "external-outside",
    ],
    ["past the end", { location: "w.data", offset: "16", length: "16" }, "external-bounds"],
    ["offset past the end", { location: "w.data", offset: "100" }, "external-bounds"],
    ["another length than the shape", { location: "w.data", length: "12" }, "external-bounds"],
    ["a negative offset", { location: "w.data", offset: "-4" }, "external-entry"],
    ["a length in words", { location: "w.data", length: "all" }, "external-entry"],
    ["no location", {}, "external-entry"],
    ["a NUL", { location: "w.data\0.txt" }, "external-entry"],
  ])("refused: %s", async (_, entries, reason) => {
    for (const inAttribute of [false, true]) {
      const reading = read(entries, inAttribute);
      await expect(reading).rejects.toBeInstanceOf(FormatError);
      await expect(reading).rejects.toMatchObject({ details: { reason } });
    }
  });

  test("a model without a path has no folder", () => {
    const t = create(TensorProtoSchema, {
      name: "w",
      dataType: 1,
      dataLocation: 1,
      externalData: [{ key: "location", value: "package.json" }],
    });
    const model = buildModelBytes({ nodes: [constant(t)], inputs: [], outputs: [] });
    expect(reasonOf(() => parseOnnx(model))).toBe("external-missing");
  });
});
