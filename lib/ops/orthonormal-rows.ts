import { enqueue } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkMatrices, contiguousOf } from "./matrices.js";

/**
 * Orthonormal rows from the rows of a matrix in their order: row i is in the span of the first i + 1 (the Q factor of `x^T`,
 * transposed). The sign of a row is not determined; where x has lower rank the row is any that is orthogonal. Queued.
 *
 * @param x `[..., m, n]` float32 or float64, m <= n.
 * @returns `[..., m, n]`; the caller disposes it.
 * @throws ShapeError, DTypeError, DisposedError; NumericalError `NON_FINITE` when the result is read.
 * Cost: 4 m^2 n - 4/3 m^3 flops a matrix. Source: LAPACK's blocked Householder QR.
 */
export function orthonormalRows<D extends DType>(x: Tensor<D>): Tensor<D> {
  const fn = "orthonormalRows";
  checkMatrices(fn, "x", x);
  const [m = 0, n = 0] = x.shape.slice(-2);
  if (m > n)
    throw new ShapeError(
      expected(fn, "no more rows than columns, [..., m <= n, n],", "x", x.shape),
    );
  const temporaries: Tensor[] = [];
  const input = contiguousOf(x, temporaries);
  const y = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  try {
    enqueue(fn, "orthonormal_rows", x.device, { x: input.native(fn), y: y.native(fn) });
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  } finally {
    for (const copy of temporaries) copy.dispose();
  }
}
