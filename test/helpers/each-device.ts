import { type Device, inspectDevices } from "../../lib/binding/index.js";

const required = (process.env["OSCULATE_REQUIRE_DEVICES"] ?? "")
  .split(",")
  .filter((name) => name !== "");

const reports = inspectDevices();

/** Why a suite cannot run on a device; undefined when it can. */
function problem(device: Device, kernels: readonly string[]): string | undefined {
  const report = reports.find((row) => row.device === device);
  if (!report?.available) {
    const tried = report?.attempts.map(({ error }) => error ?? "").join("; ") ?? "";
    return `device ${device} is not available: ${tried}`;
  }
  const holes = kernels.filter((kernel) => report.missingKernels.includes(kernel));
  return holes.length > 0 ? `device ${device} has no kernel ${holes.join(", ")}` : undefined;
}

/**
 * One suite per device. Where a device is missing, or has no version of the kernels used (default: the one called `name`), it
 * is one skipped test that says why; a device named in OSCULATE_REQUIRE_DEVICES fails instead.
 */
export function eachDevice(
  name: string,
  suite: (device: Device) => void,
  kernels: readonly string[] = [name],
): void {
  for (const { device } of reports) {
    const missing = problem(device, kernels);
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
