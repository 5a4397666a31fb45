/**
 * osculate: second-order training and model compression for Node.js.
 *
 * Everything is exported here, and room by room from subpaths such as `osculate/autodiff` and `osculate/linalg`.
 */
export * from "./errors.js";
export {
  type BindingReport,
  type Device,
  type DeviceChoice,
  type DeviceReport,
  inspectBinding,
  inspectDevices,
  type LoadAttempt,
  type MemoryStats,
  memoryStats,
  type Progress,
  selectDevice,
  setThreads,
  type TypedArray,
} from "./binding/index.js";
export {
  type ArrayOf,
  type DType,
  type FromOptions,
  keep,
  scope,
  Tensor,
  type TensorOptions,
} from "./tensor/index.js";
export * from "./linalg/index.js";
export * from "./autodiff/index.js";
export * from "./nn/index.js";
export * from "./models/index.js";
export * from "./curvature/index.js";
export * from "./formats/index.js";
export * from "./optim/index.js";
export * from "./compress/index.js";
export * from "./data/index.js";
export * from "./solvers/index.js";
