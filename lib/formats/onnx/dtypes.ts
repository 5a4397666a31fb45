/** The element types of ONNX tensors that osculate reads. */

export type OnnxTypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export type OnnxDType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64"
  | "bfloat16"
  | "uint4"
  | "int4";

export interface DTypeInfo {
  /** TensorProto.data_type. */
  code: number;
  /** Bits of one element in raw data. */
  bits: number;
  /** The typed field that holds values outside of raw data. */
  field: "floatData" | "int32Data" | "int64Data" | "doubleData" | "uint64Data";
  /** float16 and bfloat16 stay bit patterns (Uint16Array), 4-bit types are spread to one byte each. */
  array: new (length: number) => OnnxTypedArray;
}

export const ONNX_DTYPES: Readonly<Record<OnnxDType, DTypeInfo>> = {
  float32: { code: 1, bits: 32, field: "floatData", array: Float32Array },
  uint8: { code: 2, bits: 8, field: "int32Data", array: Uint8Array },
  int8: { code: 3, bits: 8, field: "int32Data", array: Int8Array },
  uint16: { code: 4, bits: 16, field: "int32Data", array: Uint16Array },
  int16: { code: 5, bits: 16, field: "int32Data", array: Int16Array },
  int32: { code: 6, bits: 32, field: "int32Data", array: Int32Array },
  int64: { code: 7, bits: 64, field: "int64Data", array: BigInt64Array },
  bool: { code: 9, bits: 8, field: "int32Data", array: Uint8Array },
  float16: { code: 10, bits: 16, field: "int32Data", array: Uint16Array },
  float64: { code: 11, bits: 64, field: "doubleData", array: Float64Array },
  uint32: { code: 12, bits: 32, field: "uint64Data", array: Uint32Array },
  uint64: { code: 13, bits: 64, field: "uint64Data", array: BigUint64Array },
  bfloat16: { code: 16, bits: 16, field: "int32Data", array: Uint16Array },
  uint4: { code: 21, bits: 4, field: "int32Data", array: Uint8Array },
  int4: { code: 22, bits: 4, field: "int32Data", array: Int8Array },
};

const BY_CODE = new Map(
  (Object.keys(ONNX_DTYPES) as OnnxDType[]).map((name) => [ONNX_DTYPES[name].code, name]),
);

/** The name of a `data_type` code, or undefined for strings, complex numbers and 8-bit floats. */
export function dtypeOfCode(code: number): OnnxDType | undefined {
  return BY_CODE.get(code);
}
