import { Worker } from "node:worker_threads";
import {
  addon,
  callSync,
  enqueue,
  inspectDevices,
  memoryStats,
  type KernelArguments,
} from "../../lib/binding/index.js";
import { Tensor, dtypes, newArray } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { settledMemory } from "../helpers/live-memory.js";

const range = (length: number) => Float32Array.from({ length }, (_, i) => i);
const fill = (y: Tensor, value: number) => {
  enqueue("fill", "fill", y.device, { y: y.native("fill"), value });
};

eachDevice(
  "tensors",
  (device) => {
    test.each(dtypes.map((dtype) => [dtype]))("%s goes there and comes back", async (dtype) => {
      const array = newArray(dtype, 3);
      array[1] = dtype === "int64" ? 1n : 1;
      using there = Tensor.from(array, [3], { dtype, device });
      expect(there.device).toBe(device);
      expect(await there.data()).toEqual(array);
      using back = there.to("cpu");
      expect(back.dataSync()).toEqual(array);
    });

    test("numbers, empty tensors, scalars and views", async () => {
      expect(Array.from(Tensor.from([1.5, -2], undefined, { device }).dataSync())).toEqual([
        1.5, -2,
      ]);
      expect((await Tensor.from([], [0, 3], { device }).to("cpu").data()).length).toBe(0);
      expect(Array.from(Tensor.from([9], [], { device }).dataSync())).toEqual([9]);
      using t = Tensor.from(range(12), [3, 4], { device });
      const column = t.transpose().slice(0, 1, 3);
      expect(Array.from(column.dataSync())).toEqual([1, 5, 9, 2, 6, 10]);
      expect(Array.from(column.to("cpu").dataSync())).toEqual([1, 5, 9, 2, 6, 10]);
      expect(Array.from(column.to(device).dataSync())).toEqual([1, 5, 9, 2, 6, 10]);
    });

    test("a copy sees what was queued before it, and nothing that was queued after", async () => {
      const n = 50_000; // too large to be done in place
      using here = Tensor.zeros([n]);
      const copies: Tensor[] = [];
      for (let i = 1; i <= 50; ++i) {
        fill(here, i);
        const there = here.to(device);
        fill(here, -1);
        copies.push(there.to("cpu"));
        fill(there, -2);
        there.dispose();
      }
      for (const [i, copy] of copies.entries()) {
        const values = await copy.data();
        expect([values[0], values[n - 1]]).toEqual([i + 1, i + 1]);
        copy.dispose();
      }
    });

    test("a failure on the CPU is found behind a copy", async () => {
      const bad = Tensor.empty([40_000]);
      const [owner] = bad.native("t");
      enqueue("t", "fill", "cpu", { y: [owner, 0, 0, [20_000], [2]], value: 0 });
      using there = bad.to(device);
      using more = there.contiguous();
      await expect(more.data()).rejects.toThrow(/fill/);
    });

    test("memory is counted, given back, and its end is an error", async () => {
      const before = await settledMemory({ device, resetPeak: true });
      const tensors = [1, 2, 3].map(() => Tensor.zeros([1000], { device }));
      tensors[0]?.dataSync();
      const during = memoryStats({ device });
      expect(during.liveBytes - before.liveBytes).toBeGreaterThanOrEqual(12_000);
      expect(during.liveBlocks - before.liveBlocks).toBe(3);
      for (const tensor of tensors) tensor.dispose();
      const after = memoryStats({ device });
      expect(after.liveBytes).toBeLessThanOrEqual(before.liveBytes);
      expect(after.peakBytes).toBeGreaterThanOrEqual(during.liveBytes);
      expect(() => Tensor.empty([2 ** 20, 2 ** 28], { device })).toThrow(
        expect.objectContaining({
          code: "OUT_OF_MEMORY",
          message: expect.stringMatching(/1125899906842624.*\[1048576, 268435456\]/) as string,
        }),
      );
      Tensor.zeros([4], { device }).dispose();
    });

    test("tensors of another device, and borrowed arrays, are refused", () => {
      using here = Tensor.from([1, 2]);
      using there = Tensor.from([1, 2], undefined, { device });
      if (device === "cpu") return;
      const args = { x: here.native("t"), y: there.native("t") };
      expect(() => callSync("t", "convert", device, args)).toThrow(/on the device/);
      expect(() => callSync("t", "convert", "cpu", args)).toThrow(/on the device/);
      expect(() => Tensor.from(range(2), [2], { device, borrow: true })).toThrow(
        expect.objectContaining({ code: "ARGUMENT" }),
      );
      // Holes in the table of a device are named, never filled by another device.
      const holes = inspectDevices().find((r) => r.device === device)?.missingKernels ?? [];
      for (const { name, fields } of addon()
        .kernels()
        .filter((kernel) => holes.includes(kernel.name))) {
        const some = fields.map((field) => [
          field.name,
          field.kind === "tensor" || field.kind === "optional" ? there.native("t") : 0,
        ]);
        expect(() =>
          callSync("t", name, device, Object.fromEntries(some) as KernelArguments),
        ).toThrow(expect.objectContaining({ code: "UNSUPPORTED_ON_DEVICE" }));
      }
    });

    test("a worker that is terminated in the middle leaves the process and the device alive", async () => {
      const attempts = inspectDevices().find((report) => report.device === device)?.attempts ?? [];
      const plugin = attempts.find(({ error }) => error === undefined)?.from;
      const file =
        process.env["OSCULATE_ADDON"] ?? require.resolve("../../build/cmake/Release/osculate.node");
      for (let i = 0; i < 3; ++i) {
        const worker = new Worker(
          `const { parentPort, workerData: { addon: file, device, plugin } } = require("node:worker_threads");
           const addon = require(file);
           if (plugin) addon.openDevice(device, plugin);
           const n = 1 << 22;
           const storage = new addon.Storage(4 * n, device);
           const numbers = new Float64Array([0, 0, 1, n, 1, 7]); // y: dtype, offset, rank, shape, strides; value
           addon.setArguments(numbers);
           const fill = addon.kernels().findIndex(({ name }) => name === "fill");
           const number = ["cpu", "emulator", "cuda"].indexOf(device);
           for (let i = 0; i < 200; ++i) addon.enqueue(fill, number, storage);
           addon.run(fill, number, undefined, undefined, storage);
           parentPort.postMessage("started");`,
          { eval: true, workerData: { addon: file, device, plugin } },
        );
        await new Promise((resolve) => worker.once("message", resolve));
        await worker.terminate();
      }
      expect(Array.from(await Tensor.from([3], undefined, { device }).data())).toEqual([3]);
    });
  },
  ["convert", "fill"],
);
