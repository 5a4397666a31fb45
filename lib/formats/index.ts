/** Bytes to tensors and back; no algorithm lives here. */
export type { QuantizedLinear } from "./quantized.js";
export { columnsByGroup, hasContiguousGroups } from "./check-quantized.js";
export {
  checkMatMulNBitsExportable,
  matMulNBitsBlockSize,
  packMatMulNBits,
  unpackMatMulNBits,
} from "./matmul-nbits.js";
export type { MatMulNBitsWeight } from "./matmul-nbits.js";
export {
  packBytes,
  packNibbles,
  packWords,
  unpackBytes,
  unpackNibbles,
  unpackWords,
} from "./packing.js";
export type { BitRows, PackOptions } from "./packing.js";
export {
  parseSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsHeader,
  type SafetensorsReason,
} from "./safetensors-header.js";
export {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsData,
  SafetensorsFile,
  type SafetensorsTensor,
  writeSafetensors,
} from "./safetensors.js";
export {
  checkGptqExportable,
  decodeGptqLayer,
  type DecodeGptqOptions,
  encodeGptqLayer,
  type GptqCheckpointFormat,
  gptqConfig,
  type GptqConfig,
  type GptqConfigOptions,
  parseGptqConfig,
} from "./gptq-checkpoint.js";
export { encodeNpy, type NpyArray, type NpyData, type NpyDType, parseNpy, readNpy } from "./npy.js";
export { loadTensors, type NamedTensors, readTensor, saveTensors } from "./tensor-file.js";
export { encodeNpz, type NpzOptions, parseNpz, readNpz } from "./npz.js";
export { type IdxArray, parseIdx, readIdx, type ReadIdxOptions } from "./idx.js";
export * from "./onnx/index.js";
