import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStats } from "../../lib/binding/index.js";
import { loadTensors, saveTensors } from "../../lib/formats/tensor-file.js";
import { writeSafetensors } from "../../lib/formats/safetensors.js";
import { Tensor, dtypes, newArray } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { settledMemory } from "../helpers/live-memory.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "osculate-tensors-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const file = (name: string) => join(folder, `${name}.safetensors`);

eachDevice(
  "tensor files",
  (device) => {
    test("every dtype, views and empty tensors come back as they were", async () => {
      const tensors = new Map<string, Tensor>();
      for (const dtype of dtypes) {
        const array = newArray(dtype, 6);
        for (let i = 0; i < 6; ++i) array[i] = dtype === "int64" ? BigInt(i % 2) : i % 2;
        tensors.set(dtype, Tensor.from(array, [2, 3], { dtype, device }));
      }
      const base = Tensor.from([1, 2, 3, 4, 5, 6], [2, 3], { device });
      tensors.set("layer.0/view π", base.transpose());
      tensors.set("empty", Tensor.empty([0, 4], { device }));
      tensors.set("scalar", Tensor.from([7], [], { device }));
      const path = file(`all-${device}`);
      await saveTensors(path, tensors, { step: "3" });
      const loaded = await loadTensors(path, device);
      expect(loaded.metadata.get("step")).toBe("3");
      expect([...loaded.tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
      for (const [name, tensor] of tensors) {
        const found = loaded.tensors.get(name)!;
        expect([found.dtype, found.shape, found.device]).toEqual([
          tensor.dtype,
          tensor.shape,
          device,
        ]);
        expect(await found.data()).toEqual(await tensor.data());
      }
    });
  },
  ["convert", "fill"],
);

test("what is queued after the call is not written", async () => {
  const x = Tensor.zeros([40_000]);
  const saving = saveTensors(file("later"), new Map([["x", x]]));
  x.dispose();
  await saving;
  const { tensors } = await loadTensors(file("later"));
  expect((await tensors.get("x")!.data()).every((value) => value === 0)).toBe(true);
});

test("a dtype that no tensor has is refused, and what was read is freed", async () => {
  await writeSafetensors(
    file("foreign"),
    new Map([
      ["a", { dtype: "F32" as const, shape: [2], data: new Float32Array(2) }],
      ["b", { dtype: "U16" as const, shape: [1], data: new Uint16Array(1) }],
    ]),
  );
  const before = (await settledMemory()).liveBlocks;
  await expect(loadTensors(file("foreign"))).rejects.toMatchObject({
    code: "FORMAT",
    message: expect.stringMatching(/tensor b has dtype U16/) as string,
  });
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
});

test("a file that is no safetensors file, or not there", async () => {
  writeFileSync(file("text"), "hello");
  await expect(loadTensors(file("text"))).rejects.toMatchObject({ code: "FORMAT" });
  await expect(loadTensors(file("nothing"))).rejects.toMatchObject({ code: "IO" });
});
