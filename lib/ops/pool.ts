import { enqueue } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { windows } from "./conv2d.js";
import { elementsOf, shaped, withPacked } from "./packed.js";

export interface PoolGeometry {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
}

/** The shape of pooling x `[..., height, width]`. */
export function poolShape(
  fn: string,
  x: Tensor,
  { kernel, stride, padding }: PoolGeometry,
): number[] {
  checkReal(fn, "x", x);
  if (x.rank < 2) throw new ShapeError(expected(fn, "shape [..., height, width]", "x", x.shape));
  const out = [0, 1].map((d) =>
    windows(x.shape.at(d - 2) ?? 0, kernel[d as 0], stride[d as 0], padding[d as 0], 1),
  );
  // A window that lies in the padding alone has no elements.
  if (out.some((n) => n < 1) || padding[0] * 2 > kernel[0] || padding[1] * 2 > kernel[1])
    throw new ShapeError(
      `${fn}: expected x at least as large as the window, and a padding of at most half of it, but received ` +
        `[${x.shape.join(", ")}], window [${kernel.join(", ")}] and padding [${padding.join(", ")}]`,
    );
  return [...x.shape.slice(0, -2), ...out];
}

function options({ kernel, stride, padding }: PoolGeometry) {
  return {
    kernelH: kernel[0],
    kernelW: kernel[1],
    strideH: stride[0],
    strideW: stride[1],
    padTop: padding[0],
    padLeft: padding[1],
  };
}

/** `[planes, height, width]` */
function planes(shape: readonly number[]): number[] {
  return [elementsOf(shape.slice(0, -2)), ...shape.slice(-2)];
}

/** Means of windows of x, or with `transposed` the transpose of that, at x, both in the shape given. Queued. */
export function averagePool(
  fn: string,
  x: Tensor,
  shape: readonly number[],
  geometry: PoolGeometry,
  { whole, transposed }: { whole: boolean; transposed: boolean },
): Tensor {
  const y = Tensor.empty(shape, { dtype: x.dtype, device: x.device });
  withPacked(fn, [x], (source) => {
    enqueue(fn, transposed ? "avg_pool_backward" : "avg_pool", x.device, {
      [transposed ? "g" : "x"]: shaped(fn, source, planes(x.shape)),
      [transposed ? "dx" : "y"]: shaped(fn, y, planes(shape)),
      ...options(geometry),
      whole: whole ? 1 : 0,
    });
  });
  return y;
}

/** Where in its plane each window of x has its largest element, in the shape of the result. Queued. */
export function maxPoolIndices(
  fn: string,
  x: Tensor,
  shape: readonly number[],
  geometry: PoolGeometry,
): Tensor<"int32"> {
  const index = Tensor.empty(shape, { dtype: "int32", device: x.device });
  withPacked(fn, [x], (source) => {
    enqueue(fn, "max_pool", x.device, {
      x: shaped(fn, source, planes(x.shape)),
      index: shaped(fn, index, planes(shape)),
      ...options(geometry),
    });
  });
  return index;
}
