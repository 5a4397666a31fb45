import type { Device } from "../binding/index.js";
import { ArgumentError, DTypeError, ShapeError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkInteger, checkSameDevice } from "./check.js";
import { checkEighSize } from "./eigh.js";
import { checkSquare, contiguousOf } from "./matrices.js";
import { REPORT_LENGTH } from "./matrix-report.js";
import type { Operation } from "./operation.js";

// The order of `method` in native/kernels.h.
const methods = ["tridiagonal", "eigh", "newton", "polynomial", "warm"] as const;

export type InverseRootMethod = Exclude<(typeof methods)[number], "warm">;

export interface MatrixInverseRootOptions {
  /** Added to the diagonal, as a fraction of the largest eigenvalue, which gives A + ridge lambda_max I; default 0. */
  readonly ridge?: number | undefined;
  /**
   * - `tridiagonal`: A = Q T Q^T with T tridiagonal, a rational function of T, and back. Default on "cpu"; elsewhere
   *   it is computed as `eigh` is.
   * - `eigh`: eigenvectors, which are returned too and can start a later call.
   * - `newton`: coupled Newton iteration.
   * - `polynomial`: minimax quadratics fitted to the spectrum; half the products of newton. Default on other devices.
   */
  readonly method?: InverseRootMethod | undefined;
  /** Eigenvectors (columns) of a matrix close to A: the root to first order in the difference. Instead of a method. */
  readonly warmStart?: Tensor | undefined;
  /** Of the computation; default: the dtype of A. The root has the dtype of A. */
  readonly precision?: "float32" | "float64" | undefined;
  /** Compute a float32 matrix again in float64 when it failed. */
  readonly retry?: "float64" | undefined;
  /** Largest relative residual that counts as converged, default 0.1: float32 cannot promise more at condition 1e6. */
  readonly tolerance?: number | undefined;
  /** Of newton and polynomial, default 100. */
  readonly maxIterations?: number | undefined;
}

interface Buffers<D extends DType> {
  readonly root: Tensor<D>;
  readonly vectors: Tensor<D>;
  readonly report: Tensor<"float64">;
}

function defaultMethod(device: Device): InverseRootMethod {
  return device === "cpu" ? "tridiagonal" : "polynomial";
}

/** @internal (A + ridge lambda_max I)^(-1/p). `vectors` is empty unless the method is eigh. */
export function matrixInverseRootOperation<D extends DType>(
  fn: string,
  a: Tensor<D>,
  p: number,
  options: MatrixInverseRootOptions,
): Operation<Buffers<D>> {
  const { ridge = 0, warmStart, precision, retry, tolerance = 0.1, maxIterations = 100 } = options;
  const n = checkSquare(fn, "a", a);
  if (options.method === "eigh") checkEighSize(fn, n);
  checkInteger(fn, "p", p, 1, 8);
  checkInteger(fn, "maxIterations", maxIterations, 1, Number.MAX_SAFE_INTEGER);
  for (const [name, value] of Object.entries({ ridge, tolerance })) {
    if (typeof value !== "number" || !(value >= 0) || !Number.isFinite(value))
      throw new ArgumentError(expected(fn, "a finite number >= 0", name, value));
  }
  if (precision !== undefined && precision !== "float64" && precision !== a.dtype)
    throw new ArgumentError(expected(fn, `"float64" or ${a.dtype}`, "precision", precision));
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- plain JavaScript may pass anything
  if (retry !== undefined && retry !== "float64")
    throw new ArgumentError(expected(fn, '"float64"', "retry", retry));
  if (options.method !== undefined && warmStart !== undefined)
    throw new ArgumentError(
      expected(fn, "either a method or a warm start", "method", options.method),
    );
  const method = warmStart ? "warm" : (options.method ?? defaultMethod(a.device));
  if (!methods.includes(method) || options.method === ("warm" as string))
    throw new ArgumentError(
      expected(fn, `one of ${methods.slice(0, 4).join(", ")}`, "method", method),
    );
  const temporaries: Tensor[] = [];
  const basis = warmStart && basisOf(fn, a, warmStart, temporaries);
  const input = contiguousOf(a, temporaries);
  const { dtype, device } = a;
  const root = Tensor.empty(a.shape, { dtype, device });
  const vectors = Tensor.empty(method === "eigh" ? a.shape : [0], { dtype, device });
  const batch = a.shape.slice(0, -2).reduce((count, length) => count * length, 1);
  const report = Tensor.empty([batch, REPORT_LENGTH], { dtype: "float64", device });
  return {
    fn,
    kernel: "matrix_inverse_root",
    device,
    args: {
      a: input.native(fn),
      ...(basis && { basis: basis.native(fn) }),
      root: root.native(fn),
      vectors: vectors.native(fn),
      report: report.native(fn),
      p,
      ridge,
      method: methods.indexOf(method),
      precision: precision === "float64" ? 64 : 0,
      retry: Number(retry === "float64"),
      maxIterations,
      tolerance,
    },
    temporaries,
    outputs: [root, vectors, report],
    finish: () => ({ root, vectors, report }),
  };
}

function basisOf(fn: string, a: Tensor, basis: Tensor, temporaries: Tensor[]): Tensor {
  checkSquare(fn, "warmStart", basis);
  if (basis.dtype !== a.dtype)
    throw new DTypeError(expected(fn, a.dtype, "the dtype of warmStart", basis.dtype));
  if (basis.rank !== a.rank || basis.shape.some((length, axis) => length !== a.shape[axis]))
    throw new ShapeError(expected(fn, `shape [${a.shape.join(", ")}]`, "warmStart", basis.shape));
  checkSameDevice(fn, { a, warmStart: basis });
  return contiguousOf(basis, temporaries);
}
