import { enqueue } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";

// The order of Reduction in native/kernels/vector_reduce.cc.
const operations = ["sum", "dot", "norm", "largest"] as const;

const real = ["float32", "float64"] as const;

function checkReal(fn: string, name: string, x: Tensor): void {
  checkTensor(fn, name, x, real, (x as Tensor | undefined)?.shape ?? []);
}

function reduce(
  fn: string,
  operation: (typeof operations)[number],
  x: Tensor,
  y?: Tensor,
): Tensor<"float64"> {
  const shape = operation === "dot" && x.rank === 2 && y?.rank === 1 ? x.shape.slice(0, 1) : [];
  const result = Tensor.empty(shape, { dtype: "float64", device: x.device });
  const whole = shape.length === 0;
  const left =
    whole && !x.isContiguous ? { rows: x.contiguous() } : whole ? { rows: x } : rowsOf(x);
  const right = y === undefined || y.isContiguous ? y : y.contiguous();
  try {
    enqueue(fn, "vector_reduce", x.device, {
      x: left.rows.native(fn),
      y: right?.native(fn),
      result: result.native(fn),
      operation: operations.indexOf(operation),
    });
    return result;
  } catch (error) {
    result.dispose();
    throw error;
  } finally {
    if (left.rows !== x) left.rows.dispose();
    if (right !== y) right?.dispose();
  }
}

/**
 * The sum of all elements, in float64: parts of 16384 elements, then a tree, so that the bits depend on the size alone.
 *
 * @param x any shape, float32 or float64.
 * @returns a scalar (shape []) float64 on the device of x; the caller disposes it. 0 for no elements; NaN comes through.
 * @throws DTypeError, ArgumentError, DisposedError. Cost: one pass over x.
 */
export function vectorSum(x: Tensor): Tensor<"float64"> {
  const fn = "vectorSum";
  checkReal(fn, "x", x);
  return reduce(fn, "sum", x);
}

/** The 2-norm of all elements (Frobenius norm of a matrix), in float64; otherwise as `vectorSum`. */
export function vectorNorm(x: Tensor): Tensor<"float64"> {
  const fn = "vectorNorm";
  checkReal(fn, "x", x);
  return reduce(fn, "norm", x);
}

/** The largest |x|; otherwise as `vectorSum`. */
export function vectorMaxAbs(x: Tensor): Tensor<"float64"> {
  const fn = "vectorMaxAbs";
  checkReal(fn, "x", x);
  return reduce(fn, "largest", x);
}

/**
 * Inner products in float64: of two tensors of one shape, over all elements, or of every row of a matrix with one vector in
 * a single pass.
 *
 * @param x any shape, float32 or float64; or `[rows, n]` with y `[n]`.
 * @param y of the shape of x, or `[n]`; of the dtype and device of x.
 * @returns a scalar, or `[rows]`, float64 on the device of x; the caller disposes it.
 * @throws ShapeError, DTypeError, DeviceError, ArgumentError, DisposedError
 */
export function vectorDot(x: Tensor, y: Tensor): Tensor<"float64"> {
  const fn = "vectorDot";
  checkReal(fn, "x", x);
  const many = x.rank === 2 && (y as Tensor | undefined)?.rank === 1;
  checkTensor(fn, "y", y, [x.dtype], many ? x.shape.slice(1) : x.shape);
  checkSameDevice(fn, { x, y });
  return reduce(fn, "dot", x, y);
}
