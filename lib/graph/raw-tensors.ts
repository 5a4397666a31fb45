/** Tensors on their way between this thread and the one that runs the graph. */
import { DTypeError, ShapeError, expected } from "../errors.js";
import {
  ELEMENT_ARRAYS,
  elementCount,
  holds,
  isElementType,
  type HostTensor,
  type TypedHostTensor,
} from "./element-types.js";
import type { RawTensor, ValueInfo } from "./session-worker.js";

/**
 * Checks one feed against what the model says of its input, and makes it ready to travel.
 * `give`: the array's own buffer travels; otherwise a copy does.
 * Errors: DTypeError, ShapeError.
 */
export function rawFeed(
  fn: string,
  input: ValueInfo,
  tensor: HostTensor,
  options: { give: boolean },
): RawTensor {
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
  return { type: input.type, dims: [...dims], buffer: giveBuffer(data, options.give) };
}

/** Puts a lent buffer back under the feed it came from. */
export function restoreFeed(
  tensor: HostTensor | undefined,
  raw: RawTensor | undefined,
  buffer: ArrayBuffer | undefined,
): void {
  if (tensor && buffer && isElementType(raw?.type)) {
    tensor.data = new ELEMENT_ARRAYS[raw.type](buffer);
  }
}

export function toHost(fn: string, name: string, tensor: RawTensor): TypedHostTensor {
  const { type, dims, buffer } = tensor;
  if (!isElementType(type)) {
    throw new DTypeError(`${fn}: output ${JSON.stringify(name)} has element type ${type}`);
  }
  return { type, dims, data: new ELEMENT_ARRAYS[type](buffer) };
}

/** Whether nothing else can be in the array's buffer, so that it can be given away. */
export function ownsWholeBuffer(data: ArrayBufferView): boolean {
  const shared = Object.prototype.toString.call(data.buffer) === "[object SharedArrayBuffer]";
  return !shared && data.byteLength === data.buffer.byteLength;
}

/** The buffer itself when it may be given away and is owned whole, otherwise a copy of just these bytes. */
export function giveBuffer(data: ArrayBufferView, give: boolean): ArrayBuffer {
  if (give && ownsWholeBuffer(data)) return data.buffer as ArrayBuffer;
  const copy = new ArrayBuffer(data.byteLength);
  new Uint8Array(copy).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return copy;
}
