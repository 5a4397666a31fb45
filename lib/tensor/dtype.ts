import type { TypedArray } from "../binding/index.js";

/** Element types. The first four are computed in; the others are stored and converted. The order is that of native/core/tensor.h. */
export const dtypes = [
  "float32",
  "float64",
  "int32",
  "uint8",
  "float16",
  "bfloat16",
  "int8",
  "int64",
  "bool",
] as const;

export type DType = (typeof dtypes)[number];

export interface ArrayOf {
  float32: Float32Array;
  float64: Float64Array;
  int32: Int32Array;
  uint8: Uint8Array;
  /** Bit patterns. */
  float16: Uint16Array;
  /** Bit patterns. */
  bfloat16: Uint16Array;
  int8: Int8Array;
  int64: BigInt64Array;
  /** 0 or 1. */
  bool: Uint8Array;
}

const arrays: { [D in DType]: new (length: number) => ArrayOf[D] } = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  int64: BigInt64Array,
  bool: Uint8Array,
};

const bytes: Record<DType, number> = {
  float32: 4,
  float64: 8,
  int32: 4,
  uint8: 1,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  int64: 8,
  bool: 1,
};

/** The code native kernels know a dtype by. */
export function dtypeCode(dtype: DType): number {
  return dtypes.indexOf(dtype);
}

export function bytesPerElement(dtype: DType): number {
  return bytes[dtype];
}

/** A zeroed typed array of the dtype. */
export function newArray<D extends DType>(dtype: D, length: number): ArrayOf[D] {
  return new arrays[dtype](length);
}

/** The dtype a typed array holds when nothing else is said; `undefined` for Uint16Array, which could be float16 or bfloat16. */
export function dtypeOf(array: TypedArray): DType | undefined {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Float64Array) return "float64";
  if (array instanceof Int32Array) return "int32";
  if (array instanceof Uint8Array) return "uint8";
  if (array instanceof Int8Array) return "int8";
  if (array instanceof BigInt64Array) return "int64";
  return undefined;
}

/** Whether a typed array can hold elements of the dtype. */
export function holds(array: unknown, dtype: DType): array is TypedArray {
  return array instanceof arrays[dtype];
}
