import { ArgumentError, DTypeError, ShapeError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkSameDevice } from "./check.js";
import { checkMatrices, checkSquare, contiguousOf } from "./matrices.js";
import type { Operation } from "./operation.js";

export interface CholeskyOptions {
  /** Added to the diagonal, absolute; default 0. */
  readonly shift?: number | undefined;
}

/** An inverse and how far it is from one. */
export interface InverseResult<D extends DType> {
  /** `[..., n, n]`, both halves. */
  readonly inverse: Tensor<D>;
  /** `|A X - I| / sqrt(n)` (Frobenius) of the worst matrix, from L and X; beyond n = 32 estimated with 32 random probes. */
  readonly residual: number;
}

export interface SolveTriangularOptions {
  /** The matrix is upper triangular; default false, lower. The other half is not read. */
  readonly upper?: boolean | undefined;
  /** Solve with the transpose; default false. */
  readonly transposed?: boolean | undefined;
}

/** @internal A + shift I = L L^T. */
export function choleskyOperation<D extends DType>(
  fn: string,
  a: Tensor<D>,
  { shift = 0 }: CholeskyOptions,
): Operation<Tensor<D>> {
  checkSquare(fn, "a", a);
  if (typeof shift !== "number" || !Number.isFinite(shift))
    throw new ArgumentError(expected(fn, "a finite number", "shift", shift));
  const temporaries: Tensor[] = [];
  const input = contiguousOf(a, temporaries);
  const factor = Tensor.empty(a.shape, { dtype: a.dtype, device: a.device });
  return {
    fn,
    kernel: "cholesky",
    device: a.device,
    args: { a: input.native(fn), factor: factor.native(fn), shift },
    temporaries,
    outputs: [factor],
    finish: () => factor,
  };
}

/** @internal (L L^T)^-1. */
export function choleskyInverseOperation<D extends DType>(
  fn: string,
  factor: Tensor<D>,
): Operation<InverseResult<D>> {
  checkSquare(fn, "factor", factor);
  const temporaries: Tensor[] = [];
  const input = contiguousOf(factor, temporaries);
  const inverse = Tensor.empty(factor.shape, { dtype: factor.dtype, device: factor.device });
  return {
    fn,
    kernel: "cholesky_inverse",
    device: factor.device,
    args: { factor: input.native(fn), inverse: inverse.native(fn) },
    temporaries,
    outputs: [inverse],
    finish: (results) => ({ inverse, residual: results["residual"] ?? NaN }),
  };
}

/** @internal op(T)^-1 B. */
export function solveTriangularOperation<D extends DType>(
  fn: string,
  names: readonly [triangle: string, b: string],
  triangle: Tensor<D>,
  b: Tensor<D>,
  { upper = false, transposed = false }: SolveTriangularOptions,
): Operation<Tensor<D>> {
  const n = checkSquare(fn, names[0], triangle);
  checkMatrices(fn, names[1], b);
  if (b.dtype !== triangle.dtype)
    throw new DTypeError(expected(fn, triangle.dtype, `the dtype of ${names[1]}`, b.dtype));
  checkSameDevice(fn, { [names[0]]: triangle, [names[1]]: b });
  const fits =
    b.rank === triangle.rank &&
    b.shape.slice(0, -1).every((length, axis) => length === triangle.shape[axis]);
  if (!fits) {
    const shape = [...triangle.shape.slice(0, -2), n, "k"].join(", ");
    throw new ShapeError(expected(fn, `shape [${shape}]`, names[1], b.shape));
  }
  const temporaries: Tensor[] = [];
  const left = contiguousOf(triangle, temporaries);
  const right = contiguousOf(b, temporaries);
  const x = Tensor.empty(b.shape, { dtype: b.dtype, device: b.device });
  return {
    fn,
    kernel: "solve_triangular",
    device: b.device,
    args: {
      triangle: left.native(fn),
      b: right.native(fn),
      x: x.native(fn),
      upper: Number(upper),
      transposed: Number(transposed),
    },
    temporaries,
    outputs: [x],
    finish: () => x,
  };
}
