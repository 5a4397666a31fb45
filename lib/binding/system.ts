import { ArgumentError, expected } from "../errors.js";
import type { AddonInfo, MemoryStats } from "./addon-types.js";
import type { Device } from "./call.js";
import { requireDevice } from "./devices.js";
import { addon, loadAttempts, packageVersion, type LoadAttempt } from "./load.js";

export interface BindingReport extends AddonInfo {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly attempts: readonly LoadAttempt[];
}

/** Versions, processor, BLAS, threads and load attempts: what `osculate inspect` prints. */
export function inspectBinding(): BindingReport {
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    attempts: loadAttempts(),
    ...addon().info(),
  };
}

/**
 * Bytes held by tensors and kernel workspaces of this process on a device (default "cpu").
 *
 * @throws DeviceError when the device is not available
 */
export function memoryStats(
  options: { resetPeak?: boolean | undefined; device?: Device | undefined } = {},
): MemoryStats {
  const { resetPeak = false, device = "cpu" } = options;
  requireDevice("memoryStats", device);
  return addon().memoryStats(resetPeak, device);
}

/**
 * Sets how many threads native work may use (default: `OSCULATE_THREADS`, else the processors this process may use).
 * Results are the same bits for any count.
 */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > 1024) {
    throw new ArgumentError(expected("setThreads", "an integer from 1 to 1024", "count", count));
  }
  addon().setThreads(count);
}
