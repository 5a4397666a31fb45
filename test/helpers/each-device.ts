import type { Device } from "../../lib/binding/index.js";

/** Devices this build can run on, and why the others are skipped. A table, so that a plug-in adds a row. */
const devices: readonly { device: Device; missing: string | undefined }[] = [
  { device: "cpu", missing: undefined },
  { device: "emulator", missing: "the emulator plug-in comes with the CUDA kernels" },
  { device: "cuda", missing: "the CUDA plug-in comes with the CUDA kernels" },
];

const required = (process.env["OSCULATE_REQUIRE_DEVICES"] ?? "")
  .split(",")
  .filter((name) => name !== "");

/**
 * One suite per device. A missing device is one skipped test that says why; named in OSCULATE_REQUIRE_DEVICES it is a failure.
 */
export function eachDevice(name: string, suite: (device: Device) => void): void {
  for (const { device, missing } of devices) {
    describe(`${name} on ${device}`, () => {
      if (missing === undefined) {
        suite(device);
      } else if (required.includes(device)) {
        test(`device ${device} is required`, () => {
          throw new Error(missing);
        });
      } else {
        test.skip(`skipped: ${missing}`, () => undefined);
      }
    });
  }
}
