import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as Binding from "../../lib/binding/index.js";
import type * as Tensors from "../../lib/tensor/index.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "osculate-plugins-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function compiled(fault: string): string {
  const root = join(__dirname, "..", "..");
  const file = join(folder, `${fault}.so`);
  const flags = ["-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", `-DFAULT_${fault}`];
  const source = join(root, "test", "fixtures", "plugin.cc");
  execFileSync("g++", [...flags, "-I", join(root, "native"), source, "-o", file]);
  return file;
}

function written(name: string, bytes: Uint8Array): string {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

const cutShort = (file: string) => {
  const bytes = readFileSync(file);
  return written("cut-short.so", bytes.subarray(0, bytes.length / 2));
};

/** The library as a new process would see it, with one plug-in named by the environment. */
function withPlugin<T>(
  path: string,
  body: (modules: { binding: typeof Binding; tensor: typeof Tensors }) => T,
): T {
  const before = process.env["OSCULATE_CUDA_PLUGIN"];
  process.env["OSCULATE_CUDA_PLUGIN"] = path;
  try {
    let result: { value: T } | undefined;
    jest.isolateModules(() => {
      const binding = jest.requireActual<typeof Binding>("../../lib/binding/index.js");
      const tensor = jest.requireActual<typeof Tensors>("../../lib/tensor/index.js");
      result = { value: body({ binding, tensor }) };
    });
    return (result as { value: T }).value;
  } finally {
    if (before === undefined) delete process.env["OSCULATE_CUDA_PLUGIN"];
    else process.env["OSCULATE_CUDA_PLUGIN"] = before;
  }
}

const faults: readonly [string, () => string, RegExp, RegExp][] = [
  ["is missing", () => join(folder, "nothing.so"), /no such file/, /npm run build/],
  ["is not a library", () => written("text.so", Buffer.from("hello")), /header|too short/, /cpu/],
  ["was cut short", () => cutShort(compiled("NONE")), /too short|damaged|header|mapped/, /cpu/],
  ["crashes when it is loaded", () => compiled("CRASH_ON_LOAD"), /SIGSEGV.*damaged/, /cpu/],
  ["crashes when it is opened", () => compiled("CRASH_ON_OPEN"), /SIGABRT/, /cpu/],
  ["has no table", () => compiled("NO_TABLE"), /not a plug-in of osculate/, /cpu/],
  ["is of another version", () => compiled("OTHER_VERSION"), /another version/, /together/],
  ["takes other arguments", () => compiled("OTHER_ARGUMENTS"), /another version/, /together/],
  ["finds an old driver", () => compiled("NONE"), /driver is too old: CUDA 11.2/, /nvidia-smi/],
];

test.each(faults)(
  "a plug-in that %s is an error with cause and advice",
  (_, make, cause, advice) => {
    withPlugin(make(), ({ binding, tensor }) => {
      let thrown: unknown;
      try {
        tensor.Tensor.zeros([2], { device: "cuda" });
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ name: "DeviceError", code: "DEVICE_UNAVAILABLE" });
      expect((thrown as Error).message).toMatch(/Tensor.empty: device "cuda" is not available/);
      expect((thrown as Error).message).toMatch(cause);
      expect((thrown as Error).message).toMatch(advice);
      const report = binding.inspectDevices().find(({ device }) => device === "cuda");
      expect(report).toMatchObject({ available: false, processor: undefined });
      expect(report?.attempts.map(({ error }) => error ?? "").join()).toMatch(cause);
      expect(binding.selectDevice("auto")).toEqual({
        device: "cpu",
        reason: expect.stringMatching(cause) as string,
      });
      expect(Array.from(tensor.Tensor.from([1, 2]).dataSync())).toEqual([1, 2]);
    });
  },
);

test("an unknown device is refused by name", () => {
  withPlugin("", ({ binding }) => {
    expect(() => {
      binding.requireDevice("t", "gpu" as "cuda");
    }).toThrow(/t: expected "cpu", "emulator" or "cuda" for device but received "gpu"/);
    expect(binding.selectDevice("cpu")).toEqual({ device: "cpu", reason: "asked for" });
  });
});
