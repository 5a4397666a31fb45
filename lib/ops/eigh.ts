import { ShapeError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkSquare, contiguousOf } from "./matrices.js";
import type { Operation } from "./operation.js";

export interface EighResult<D extends DType> {
  /** `[..., n]`, ascending. */
  readonly values: Tensor<D>;
  /** `[..., n, n]`, one eigenvector a column, orthonormal. */
  readonly vectors: Tensor<D>;
  /** `|A V - V diag(values)| / |A|` (Frobenius) of the worst matrix; beyond n = 32 estimated with 32 random probes. */
  readonly residual: number;
}

/** LAPACK counts the 1 + 4 n + n^2 numbers of its workspace in 32 bits. */
const LARGEST = 46338;

/** @internal Refuses what has more rows than LAPACK's divide and conquer can take. */
export function checkEighSize(fn: string, n: number): void {
  if (n > LARGEST)
    throw new ShapeError(expected(fn, `at most ${LARGEST} rows for eigenvectors`, "a", n));
}

/** @internal A = V diag(values) V^T. */
export function eighOperation<D extends DType>(fn: string, a: Tensor<D>): Operation<EighResult<D>> {
  checkEighSize(fn, checkSquare(fn, "a", a));
  const temporaries: Tensor[] = [];
  const input = contiguousOf(a, temporaries);
  const { dtype, device } = a;
  const values = Tensor.empty(a.shape.slice(0, -1), { dtype, device });
  const vectors = Tensor.empty(a.shape, { dtype, device });
  return {
    fn,
    kernel: "eigh",
    device,
    args: { a: input.native(fn), values: values.native(fn), vectors: vectors.native(fn) },
    temporaries,
    outputs: [values, vectors],
    finish: (results) => ({ values, vectors, residual: results["residual"] ?? NaN }),
  };
}
