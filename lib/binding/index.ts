/** Loads the addon and calls its kernels; the only room that knows a .node file exists. */
export type {
  KernelArguments,
  KernelResults,
  MemoryStats,
  NativeTensor,
  Storage,
} from "./addon-types.js";
export type { TypedArray } from "./typed-array.js";
export { untilAborted } from "./abort.js";
export { addon, loadAttempts, packageRoot, packageVersion, type LoadAttempt } from "./load.js";
export { call, callSync, enqueue, type CallOptions, type Device, type Progress } from "./call.js";
export { copyBetween } from "./pack.js";
export { kernel, run, runSync, type KernelStep, type Task } from "./task.js";
export {
  devices,
  inspectDevices,
  requireDevice,
  selectDevice,
  type DeviceChoice,
  type DeviceReport,
} from "./devices.js";
export { inspectBinding, memoryStats, setThreads, type BindingReport } from "./system.js";
