/**
 * The element types a tensor can have on its way into and out of onnxruntime, and the typed array that
 * holds the values: float16 as bit patterns in a Uint16Array, bool as 0/1 in a Uint8Array, as in
 * `Tensor`. Other types (strings, bfloat16, 4 bits) may flow inside a graph but cannot be handed over.
 */
import { dtypeOfCode } from "../formats/onnx/dtypes.js";
import type { OnnxTypedArray } from "../formats/onnx/dtypes.js";

export const ELEMENT_ARRAYS = {
  float32: Float32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  float64: Float64Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
} as const;

export type ElementType = keyof typeof ELEMENT_ARRAYS;

/** Any typed array the table names. */
export type ElementArray = OnnxTypedArray;

/** A dense tensor in row-major order: `data.length` is the product of `dims`. */
export interface HostTensor {
  data: ElementArray;
  dims: readonly number[];
}

/** A tensor that came out of a graph; `type` tells bool from uint8 and float16 from uint16. */
export interface TypedHostTensor extends HostTensor {
  type: ElementType;
}

/** One batch for a graph: a tensor for each input name. */
export type Feeds = Record<string, HostTensor>;

export function isElementType(name: string | undefined): name is ElementType {
  return name !== undefined && Object.hasOwn(ELEMENT_ARRAYS, name);
}

/** The type with this number in an ONNX file, or undefined when it cannot be handed over. */
export function elementTypeOf(code: number): ElementType | undefined {
  const name = dtypeOfCode(code);
  return isElementType(name) ? name : undefined;
}

export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/**
 * Whether `data` is the typed array that holds `type`. Compared by name, because an array made in
 * another realm (a worker, a test sandbox) has the same layout but another constructor.
 */
export function holds(data: unknown, type: ElementType): data is ElementArray {
  return arrayName(data) === ELEMENT_ARRAYS[type].name;
}

/** "Float32Array", ... or undefined for anything that is no typed array. */
function arrayName(data: unknown): string | undefined {
  if (!ArrayBuffer.isView(data)) return undefined;
  return (data as unknown as { [Symbol.toStringTag]?: string })[Symbol.toStringTag];
}
