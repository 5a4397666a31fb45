import { ArgumentError, DTypeError, ShapeError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";

/** Checks that `x` is a live float32 or float64 tensor of matrices, `[..., rows, columns]`. */
export function checkMatrices(fn: string, name: string, x: unknown): asserts x is Tensor {
  if (!(x instanceof Tensor)) throw new ArgumentError(expected(fn, "a Tensor", name, x));
  const tensor = x as Tensor;
  tensor.native(fn); // throws DisposedError
  if (tensor.dtype !== "float32" && tensor.dtype !== "float64") {
    throw new DTypeError(expected(fn, "float32 or float64", `the dtype of ${name}`, tensor.dtype));
  }
  if (tensor.rank < 2)
    throw new ShapeError(expected(fn, "two or more dimensions", name, tensor.shape));
}

/** The same for square matrices, `[..., n, n]`; returns n. */
export function checkSquare(fn: string, name: string, x: unknown): number {
  checkMatrices(fn, name, x);
  const [rows = 0, columns = 0] = x.shape.slice(-2);
  if (rows !== columns)
    throw new ShapeError(expected(fn, "square matrices, [..., n, n],", name, x.shape));
  return rows;
}

/** `x` itself when it is contiguous, else a copy that is pushed to `temporaries`. */
export function contiguousOf<D extends DType>(x: Tensor<D>, temporaries: Tensor[]): Tensor<D> {
  if (x.isContiguous) return x;
  const copy = x.contiguous();
  temporaries.push(copy);
  return copy;
}
