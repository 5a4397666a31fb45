/** `osculate quantize --device emulator` on the OCR recognizer: the kernels that a GPU runs give the codes of the CPU. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MODEL_INPUT, RECOGNIZER } from "../../examples/ocr/dataset.js";
import { drawLine, LINE_HEIGHT } from "../../examples/ocr/render.js";
import { inspectDevices } from "../../lib/binding/index.js";
import { encodeNpz, readOnnx } from "../../lib/formats/index.js";
import { cli } from "../helpers/run-cli.js";

/** Lines of one width, the narrowest of them. */
function samples(): { shape: number[]; data: Float32Array<ArrayBuffer> } {
  const texts = ["Call me Ishmael.", "Some years ago", "never mind how", "having little or"];
  const lines = texts.map((text, seed) => drawLine(text, { seed }));
  const width = Math.min(...lines.map((line) => line.width));
  const data = new Float32Array(lines.length * 3 * LINE_HEIGHT * width);
  lines.forEach((line, at) => {
    for (let row = 0; row < 3 * LINE_HEIGHT; ++row) {
      const pixels = line.data.subarray(row * line.width, row * line.width + width);
      data.set(pixels, (at * 3 * LINE_HEIGHT + row) * width);
    }
  });
  return { shape: [lines.length, 3, LINE_HEIGHT, width], data };
}

/** The packed codes, scales and zero points of every MatMulNBits node, by its output. */
async function quantizedWeights(path: string): Promise<Map<string, ArrayLike<number>[]>> {
  const model = await readOnnx(path);
  const stored = new Map(model.graph.initializer.map((tensor) => [tensor.name, tensor]));
  const nodes = model.graph.node.filter(({ opType }) => opType === "MatMulNBits");
  return new Map(
    nodes.map((node) => [
      node.output[0]!,
      node.input
        .slice(1, 4)
        .map((name) => model.tensorData(stored.get(name)!).data as ArrayLike<number>),
    ]),
  );
}

const emulator = inspectDevices().find(({ device }) => device === "emulator");
const onEmulator = emulator?.available === true ? test : test.skip;

onEmulator(
  "every MatMul of the recognizer: the codes of the CPU, ties aside; the same scales and zero points",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "osculate-ocr-devices-"));
    try {
      const calibration = join(folder, "lines.npz");
      const recipe = join(folder, "recipe.yaml");
      const { shape, data } = samples();
      await writeFile(
        calibration,
        encodeNpz(new Map([[MODEL_INPUT, { dtype: "float32" as const, shape, data }]])),
      );
      await writeFile(
        recipe,
        "bits: 4\ngroupSize: 32\nsym: false\nstaticGroups: true\nrules:\n  - { match: 'op:Conv', skip: true }\n",
      );
      const weights = [];
      for (const device of ["cpu", "emulator"]) {
        const output = join(folder, `${device}.onnx`);
        const args = ["quantize", RECOGNIZER, "-o", output, "-c", calibration];
        const { code, stderr } = await cli([...args, "--recipe", recipe, "--device", device]);
        expect(`${code} ${stderr}`).toMatch(/^0 /);
        weights.push(await quantizedWeights(output));
      }
      const [onCpu, onDevice] = weights;
      expect(onCpu!.size).toBeGreaterThanOrEqual(5);
      expect([...onDevice!.keys()]).toEqual([...onCpu!.keys()]);
      let codes = 0;
      let differing = 0;
      for (const [name, [packed, scales, zeros]] of onCpu!) {
        const [otherPacked, otherScales, otherZeros] = onDevice!.get(name)!;
        expect(otherScales).toEqual(scales);
        expect(otherZeros).toEqual(zeros);
        expect(otherPacked!.length).toBe(packed!.length);
        for (let at = 0; at < packed!.length; ++at) {
          const apart = packed![at]! ^ otherPacked![at]!;
          codes += 2;
          differing += Number((apart & 15) !== 0) + Number(apart >> 4 !== 0);
        }
      }
      // A weight within rounding errors of the middle between two codes may go either way, and takes its neighbours along.
      expect(differing).toBeLessThanOrEqual(0.002 * codes);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
