/** ONNX files: read, look into, write. */
export { dtypeOfCode, ONNX_DTYPES } from "./dtypes.js";
export type { OnnxDType, OnnxTypedArray } from "./dtypes.js";
export { encodeOnnx } from "./encode.js";
export type { EncodedOnnx } from "./encode.js";
export { isExternal } from "./external.js";
export type { ExternalOptions } from "./external-write.js";
export { bodiesOf, canonicalDomain, OnnxModel, parseOnnx, readOnnx, tensorsOf } from "./model.js";
export { copyMessage } from "./source-bytes.js";
export { makeTensor, tensorDims } from "./tensor-data.js";
export type { TensorData } from "./tensor-data.js";
export type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "./onnx_pb.js";
