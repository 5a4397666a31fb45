/** The typed arrays tensors are made of. float16 and bfloat16 are bit patterns in a Uint16Array, bool is 0 or 1 in a Uint8Array. */
export type TypedArray =
  Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array | Int8Array | BigInt64Array;
