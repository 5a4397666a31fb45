import type { NativeTensor } from "../binding/index.js";
import { contiguousStrides, Tensor } from "../tensor/index.js";
import { copyInto } from "./copy.js";

/**
 * Calls `use` with tensors whose elements are contiguous: those given, or copies that are disposed afterwards. Copies are no
 * part of what is differentiated.
 */
export function withPacked<T>(
  fn: string,
  tensors: readonly Tensor[],
  use: (...packed: Tensor[]) => T,
): T {
  const packed = tensors.map((x) => {
    if (x.isContiguous) return x;
    const copy = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
    copyInto(fn, x, copy);
    return copy;
  });
  try {
    return use(...packed);
  } finally {
    packed.forEach((x, i) => {
      if (x !== tensors[i]) x.dispose();
    });
  }
}

/** The native view of a contiguous tensor in another shape of as many elements. */
export function shaped(fn: string, x: Tensor, shape: readonly number[]): NativeTensor {
  const [owner, dtype, offset] = x.native(fn);
  return [owner, dtype, offset, shape, contiguousStrides(shape)];
}

/** The number of elements of a shape. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** `[rows, n]` with n the length of the last dimension. */
export function rowsShape(x: Tensor): [number, number] {
  return [elementsOf(x.shape.slice(0, -1)), x.shape.at(-1) ?? 1];
}
