import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DeviceError, expected } from "../errors.js";
import type { OpenDevice } from "./addon-types.js";
import type { Device } from "./call.js";
import { type LoadAttempt, addon, addonFile, isSourceCheckout, packageVersion } from "./load.js";

/** Every device a tensor can live on, in the order they are listed. */
export const devices: readonly Device[] = ["cpu", "emulator", "cuda"];

/** Whether a device can be used in this process, what it is, and what was tried. */
export interface DeviceReport {
  readonly device: Device;
  readonly available: boolean;
  /** Name of the GPU, or the code path of the CPU; undefined when the device is not available. */
  readonly processor: string | undefined;
  /** Runtime, driver and library versions, or why a library is missing. */
  readonly versions: string | undefined;
  /** Kernels the device does not have. */
  readonly missingKernels: readonly string[];
  readonly attempts: readonly LoadAttempt[];
}

/** What `selectDevice` chose and why. */
export interface DeviceChoice {
  readonly device: Device;
  readonly reason: string;
}

const nodeRequire = createRequire(import.meta.url);
const PROBE_MS = 60_000;

// Opening a damaged or foreign library can end the process, so a child goes first.
const PROBE = `
  const [, addonFile, device, path] = process.argv;
  try { require(addonFile).openDevice(device, path); }
  catch (error) { process.stderr.write(String(error.message)); process.exit(3); }`;

const tried = new Map<Device, readonly LoadAttempt[]>();

/** Where the plug-in of a device may be: the file named by the environment alone, or beside the addon, or its package. */
function candidates(device: Device): string[] {
  const named = process.env[`OSCULATE_${device.toUpperCase()}_PLUGIN`];
  if (named !== undefined && named !== "") return [resolve(named)];
  const name = `libosculate_${device}.so`;
  const found = [join(dirname(addonFile()), name)];
  try {
    const folder = `osculate-${process.platform}-${process.arch}-${device}/package.json`;
    found.push(join(dirname(nodeRequire.resolve(folder)), name));
  } catch {
    // not installed
  }
  return found;
}

function probe(device: Device, path: string): string | undefined {
  if (!existsSync(path)) return "no such file";
  const child = spawnSync(process.execPath, ["-e", PROBE, addonFile(), device, path], {
    encoding: "utf8",
    timeout: PROBE_MS,
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  if (child.error) return `the test process could not be run: ${child.error.message}`;
  if (child.signal)
    return `a test process that opened it ended with ${child.signal}: the file is damaged`;
  if (child.status !== 0)
    return child.stderr.trim() || `a test process that opened it ended with code ${child.status}`;
  return undefined;
}

function tryOpen(device: Device, path: string): LoadAttempt {
  const problem = probe(device, path);
  if (problem !== undefined) return { from: path, error: problem };
  try {
    addon().openDevice(device, path);
    return { from: path, error: undefined };
  } catch (cause) {
    return { from: path, error: (cause as Error).message };
  }
}

/** The device when it is open or can be opened now; the plug-in is tried once a process. */
function open(device: Device): OpenDevice | undefined {
  const already = addon().deviceInfo(device);
  if (already !== undefined || tried.has(device)) return already;
  const attempts: LoadAttempt[] = [];
  for (const path of candidates(device)) {
    const attempt = tryOpen(device, path);
    attempts.push(attempt);
    if (attempt.error === undefined) break;
  }
  tried.set(device, attempts);
  return addon().deviceInfo(device);
}

function advice(device: Device, attempts: readonly LoadAttempt[]): string {
  const reasons = attempts.map(({ error }) => error ?? "").join("\n");
  if (reasons.includes("another version")) return "Rebuild or install addon and plug-in together.";
  if (reasons.includes("no such file")) {
    if (isSourceCheckout())
      return "`npm run build` makes it (the one for cuda where nvcc is found).";
    return device === "cuda"
      ? `Install osculate-${process.platform}-${process.arch}-cuda in version ${packageVersion()}.`
      : "The emulator is for development: it is built in a source checkout only.";
  }
  return device === "cuda"
    ? 'Check `nvidia-smi`, install or update the NVIDIA driver, or use device "cpu".'
    : 'Use device "cpu".';
}

/**
 * Makes sure that tensors can live on `device`.
 *
 * The first use of a plug-in opens it in a child process before this one (about 0.1 s, blocking).
 * @throws DeviceError `DEVICE_UNAVAILABLE` with every attempt in `details.attempts`
 */
export function requireDevice(fn: string, device: Device): void {
  if (!devices.includes(device)) {
    throw new DeviceError(
      "DEVICE_UNAVAILABLE",
      expected(fn, '"cpu", "emulator" or "cuda"', "device", device),
    );
  }
  if (device === "cpu" || open(device) !== undefined) return;
  const attempts = tried.get(device) ?? [];
  const text = attempts.map(({ from, error }) => `${from}: ${error ?? ""}`).join("; ");
  throw new DeviceError(
    "DEVICE_UNAVAILABLE",
    `${fn}: device "${device}" is not available: ${text}. ${advice(device, attempts)}`,
    { details: { attempts } },
  );
}

/** What can be used in this process. Opens the plug-ins that are there. */
export function inspectDevices(): DeviceReport[] {
  return devices.map((device) => {
    const found = open(device);
    return {
      device,
      available: found !== undefined,
      processor: device === "cpu" ? addon().info().cpuPath : found?.processor,
      versions: found?.versions,
      missingKernels: found?.missingKernels ?? [],
      attempts: tried.get(device) ?? [],
    };
  });
}

/**
 * `"auto"`: the GPU when there is a usable one, else the CPU, with the reason. Anything else: that device, or a `DeviceError`.
 *
 * @example
 * const { device, reason } = selectDevice("auto");
 * console.log(`${device}: ${reason}`);
 */
export function selectDevice(wanted: Device | "auto"): DeviceChoice {
  if (wanted !== "auto") {
    requireDevice("selectDevice", wanted);
    return { device: wanted, reason: "asked for" };
  }
  const gpu = open("cuda");
  if (gpu !== undefined) return { device: "cuda", reason: gpu.processor };
  const attempts = tried.get("cuda") ?? [];
  const text = attempts.map(({ from, error }) => `${from}: ${error ?? ""}`).join("; ");
  return { device: "cpu", reason: `no usable GPU (${text})` };
}
