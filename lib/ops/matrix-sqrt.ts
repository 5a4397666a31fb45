import { ArgumentError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkInteger, checkSameDevice, checkTensor } from "./check.js";
import { checkSquare, contiguousOf } from "./matrices.js";
import type { Operation } from "./operation.js";

// The order of `method` in native/kernels.h, and what `steps` are by default.
const methods = { newtonSchulz: 50, taylor: 10, pade: 0 } as const;

export type MatrixSqrtMethod = keyof typeof methods;

export interface MatrixSqrtOptions {
  /**
   * - `newtonSchulz` (default): a coupled iteration that goes on until the residual falls no more: about 5 + log2 of the
   *   condition number steps of 6 n^3 flops, at most.
   * - `taylor`: a polynomial, 5 n^3 flops; for condition numbers below 10.
   * - `pade`: a quotient of polynomials of degree 5, 7 n^3 flops, exact to 4e-4 at condition 5 and 4e-3 at 20.
   */
  readonly method?: MatrixSqrtMethod | undefined;
  /** The most iterations of `newtonSchulz`, default 50; the degree of `taylor`, default 10. `pade` has none. */
  readonly steps?: number | undefined;
  /** Largest residual that is no error. Default 0.1. */
  readonly tolerance?: number | undefined;
}

export interface MatrixSqrtResult<D extends DType> {
  /** `[..., n, n]`, symmetric. */
  readonly root: Tensor<D>;
  /** Of the worst matrix, from the matrices themselves: `|S^2 - A| / |A|`, of the inverse root `|T^2 A - I| / sqrt(n)`. */
  readonly residual: number;
  /** The most that a matrix took; 0 for methods that do not iterate. */
  readonly iterations: number;
}

function checkTolerance(fn: string, tolerance: unknown): void {
  if (typeof tolerance !== "number" || !(tolerance >= 0))
    throw new ArgumentError(expected(fn, "a number >= 0", "tolerance", tolerance));
}

/** @internal A^(1/2), or A^(-1/2). */
export function matrixSqrtOperation<D extends DType>(
  fn: string,
  a: Tensor<D>,
  inverse: boolean,
  options: MatrixSqrtOptions,
): Operation<MatrixSqrtResult<D>> {
  checkSquare(fn, "a", a);
  const { method = "newtonSchulz", tolerance = 0.1 } = options;
  if (!Object.hasOwn(methods, method))
    throw new ArgumentError(
      expected(fn, `one of ${Object.keys(methods).join(", ")}`, "method", method),
    );
  if (method === "pade" && options.steps !== undefined)
    throw new ArgumentError(expected(fn, "no steps for method pade", "steps", options.steps));
  const { steps = methods[method] } = options;
  checkInteger(fn, "steps", steps, method === "taylor" ? 1 : 0, 1000);
  checkTolerance(fn, tolerance);
  const temporaries: Tensor[] = [];
  const input = contiguousOf(a, temporaries);
  const root = Tensor.empty(a.shape, { dtype: a.dtype, device: a.device });
  return {
    fn,
    kernel: "matrix_sqrt",
    device: a.device,
    args: {
      a: input.native(fn),
      root: root.native(fn),
      inverse: Number(inverse),
      method: Object.keys(methods).indexOf(method),
      steps,
      tolerance: Math.min(tolerance, Number.MAX_VALUE),
    },
    temporaries,
    outputs: [root],
    finish: (results) => ({
      root,
      residual: results["residual"] ?? NaN,
      iterations: results["iterations"] ?? NaN,
    }),
  };
}

export interface LyapunovOptions {
  /** Default 100. */
  readonly maxIterations?: number | undefined;
  /** Largest residual that is no error. Default 0.1. */
  readonly tolerance?: number | undefined;
}

export interface LyapunovResult<D extends DType> {
  /** `[..., n, n]`; symmetric when g is. */
  readonly solution: Tensor<D>;
  /** `|S X + X S - G| / |G|` of the worst matrix. */
  readonly residual: number;
  /** The most that a matrix took. */
  readonly iterations: number;
}

/** @internal X of S X + X S = G. */
export function lyapunovOperation<D extends DType>(
  fn: string,
  s: Tensor<D>,
  g: Tensor<D>,
  options: LyapunovOptions,
): Operation<LyapunovResult<D>> {
  const { maxIterations = 100, tolerance = 0.1 } = options;
  checkSquare(fn, "s", s);
  checkTensor(fn, "g", g, [s.dtype], s.shape);
  checkSameDevice(fn, { s, g });
  checkInteger(fn, "maxIterations", maxIterations, 0, 1000);
  checkTolerance(fn, tolerance);
  const temporaries: Tensor[] = [];
  const [left, right] = [contiguousOf(s, temporaries), contiguousOf(g, temporaries)];
  const solution = Tensor.empty(s.shape, { dtype: s.dtype, device: s.device });
  return {
    fn,
    kernel: "lyapunov",
    device: s.device,
    args: {
      s: left.native(fn),
      g: right.native(fn),
      x: solution.native(fn),
      maxIterations,
      tolerance: Math.min(tolerance, Number.MAX_VALUE),
    },
    temporaries,
    outputs: [solution],
    finish: (results) => ({
      solution,
      residual: results["residual"] ?? NaN,
      iterations: results["iterations"] ?? NaN,
    }),
  };
}
