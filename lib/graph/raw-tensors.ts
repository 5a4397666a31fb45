/** Tensors on their way between this process and the one that runs the graph. */
import { DTypeError, ShapeError, expected } from "../errors.js";
import {
  ELEMENT_ARRAYS,
  elementCount,
  holds,
  isElementType,
  type HostTensor,
  type TypedHostTensor,
} from "./element-types.js";
import type { TensorHeader, ValueInfo } from "./session-child.js";

/**
 * Checks one feed against what the model says of its input; gives what is sent, with the bytes as a view.
 * Errors: DTypeError, ShapeError.
 */
export function rawFeed(
  fn: string,
  input: ValueInfo,
  tensor: HostTensor,
): { header: TensorHeader; bytes: Uint8Array } {
  const { data, dims } = tensor;
  const name = `input ${JSON.stringify(input.name)}`;
  if (!isElementType(input.type)) {
    throw new DTypeError(
      `${fn}: ${name} cannot be fed: its type is ${input.type ?? "not a tensor"}`,
    );
  }
  if (!holds(data, input.type)) {
    throw new DTypeError(
      expected(fn, `a ${ELEMENT_ARRAYS[input.type].name} (${input.type})`, name, data),
    );
  }
  if (dims.some((dim) => !Number.isInteger(dim) || dim < 0)) {
    throw new ShapeError(expected(fn, "dims that are integers >= 0", name, dims));
  }
  if (elementCount(dims) !== data.length) {
    throw new ShapeError(expected(fn, `${elementCount(dims)} values for its dims`, name, data));
  }
  return {
    header: { name: input.name, type: input.type, dims: [...dims] },
    bytes: bytesOf(data),
  };
}

/** An array over the bytes that came. */
export function toHost(fn: string, header: TensorHeader, buffer: ArrayBuffer): TypedHostTensor {
  const { name, type, dims } = header;
  if (!isElementType(type)) {
    throw new DTypeError(`${fn}: output ${JSON.stringify(name)} has element type ${type}`);
  }
  return { type, dims, data: new ELEMENT_ARRAYS[type](buffer) };
}

/** The bytes of an array; a pipe takes no shared memory, so that is copied. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const shared = Object.prototype.toString.call(data.buffer) === "[object SharedArrayBuffer]";
  return shared ? bytes.slice() : bytes;
}
