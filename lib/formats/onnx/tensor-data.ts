/** TensorProto to typed arrays and back. */
import { create } from "@bufbuild/protobuf";
import { FormatError } from "../../errors.js";
import { dtypeOfCode, ONNX_DTYPES } from "./dtypes.js";
import type { OnnxDType, OnnxTypedArray } from "./dtypes.js";
import { externalPlace, isExternal, readExternal } from "./external.js";
import { TensorProtoSchema } from "./onnx_pb.js";
import type { TensorProto } from "./onnx_pb.js";

export interface TensorData {
  dtype: OnnxDType;
  /** `[]` for a scalar. */
  dims: number[];
  /** A copy, in logical order. float16 and bfloat16 are bit patterns; 4-bit codes take a byte each. */
  data: OnnxTypedArray;
}

/** The shape of a tensor. @throws FormatError for a negative or absurd dimension. */
export function tensorDims(tensor: TensorProto): number[] {
  const dims = tensor.dims.map(Number);
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (dims.some((dim) => dim < 0) || !Number.isSafeInteger(count)) {
    throw invalid(tensor, `dimensions [${dims.join(", ")}]`, "a shape");
  }
  return dims;
}

/**
 * Decodes a tensor.
 *
 * @param modelPath where external data is looked for.
 * @throws FormatError for a type without numbers, for data that does not fill the shape, and for
 *   external data that is missing, too short or outside of the model's folder.
 */
export function decodeTensor(modelPath: string, tensor: TensorProto): TensorData {
  const dtype = dtypeOfCode(tensor.dataType);
  if (dtype === undefined) {
    throw invalid(tensor, `data_type ${tensor.dataType}`, "a numeric element type");
  }
  const dims = tensorDims(tensor);
  const count = dims.reduce((product, dim) => product * dim, 1);
  const { bits, field, array } = ONNX_DTYPES[dtype];
  const raw = rawBytes(modelPath, tensor, Math.ceil((count * bits) / 8));
  if (raw !== undefined) {
    if (bits === 4) return { dtype, dims, data: spreadNibbles(raw, count, dtype) };
    const data = new array(count);
    new Uint8Array(data.buffer).set(raw);
    return { dtype, dims, data };
  }
  const values = tensor[field];
  const stored = bits === 4 ? Math.ceil(count / 2) : count;
  if (values.length !== stored)
    throw invalid(tensor, `${values.length} values`, `${stored} values`);
  if (bits === 4) {
    return { dtype, dims, data: spreadNibbles(Uint8Array.from(values as number[]), count, dtype) };
  }
  const data = new array(count);
  // uint32 travels in uint64_data: bigint to number.
  const narrow = typeof values[0] === "bigint" && bits !== 64;
  (data as Float32Array).set(narrow ? Array.from(values, Number) : (values as number[]));
  return { dtype, dims, data };
}

/** Raw or external bytes of the expected length; undefined when the values are in a typed field. */
function rawBytes(modelPath: string, tensor: TensorProto, bytes: number): Uint8Array | undefined {
  let raw: Uint8Array | undefined;
  if (isExternal(tensor)) {
    const place = externalPlace(modelPath, tensor);
    if (place.length !== bytes) {
      throw invalid(tensor, `${place.length} external bytes`, `${bytes} bytes`, "external-bounds");
    }
    raw = readExternal(place);
  } else if (Object.hasOwn(tensor, "rawData")) {
    raw = tensor.rawData;
    // Some writers set an empty raw_data beside a typed field.
    if (raw.length === 0 && bytes > 0 && tensor[fieldOf(tensor)].length > 0) return undefined;
  }
  if (raw !== undefined && raw.length !== bytes) {
    throw invalid(tensor, `${raw.length} raw bytes`, `${bytes} bytes`);
  }
  return raw;
}

function fieldOf(
  tensor: TensorProto,
): "floatData" | "int32Data" | "int64Data" | "doubleData" | "uint64Data" {
  const dtype = dtypeOfCode(tensor.dataType);
  return dtype === undefined ? "floatData" : ONNX_DTYPES[dtype].field;
}

/** 4-bit codes, the first in the low nibble, to a byte each. */
function spreadNibbles(
  packed: Uint8Array,
  count: number,
  dtype: OnnxDType,
): Int8Array | Uint8Array {
  const codes = dtype === "int4" ? new Int8Array(count) : new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const code = ((packed[Math.floor(i / 2)] ?? 0) >> (4 * (i & 1))) & 15;
    codes[i] = dtype === "int4" ? (code << 28) >> 28 : code;
  }
  return codes;
}

/**
 * Makes a tensor with raw data.
 *
 * @param values the elements in the layout ONNX stores: 4-bit codes packed two a byte.
 */
export function makeTensor(
  name: string,
  options: { dtype: OnnxDType; dims: readonly number[]; values: ArrayBufferView },
): TensorProto {
  const { dtype, dims, values } = options;
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: ONNX_DTYPES[dtype].code,
    rawData: new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength),
  });
}

function invalid(
  tensor: TensorProto,
  received: string,
  wanted: string,
  reason = "tensor",
): FormatError {
  return new FormatError(
    `readOnnx: expected ${wanted} for tensor ${JSON.stringify(tensor.name)} but received ${received}`,
    { details: { reason, tensor: tensor.name } },
  );
}
