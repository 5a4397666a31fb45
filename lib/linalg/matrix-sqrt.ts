import { add, differentiable, matmul, neg } from "../autodiff/index.js";
import type { CallOptions } from "../binding/index.js";
import {
  lyapunovOperation,
  matrixSqrtOperation,
  type LyapunovOptions,
  type LyapunovResult,
  type MatrixSqrtOptions,
  type MatrixSqrtResult,
} from "../ops/matrix-sqrt.js";
import { run, runSync } from "../ops/operation.js";
import type { DType, Tensor } from "../tensor/index.js";

/** A M B. */
const between = (a: Tensor, m: Tensor, b: Tensor) => matmul(matmul(a, m), b);

/**
 * X of S X + X S = G is linear in G, and its adjoint solves the same equation: with Y of S Y + Y S = H, the cotangent of G is Y
 * and that of S is -(Y X^T + X^T Y).
 */
const followSolution = differentiable<[Tensor, Tensor], LyapunovOptions>("lyapunov", {
  vjp: ({ inputs: [s], output: x, attributes }, h) => {
    const y = solve(s, h, attributes);
    return [neg(add(matmul(y, x.transpose()), matmul(x.transpose(), y))), y];
  },
  jvp: ({ inputs: [s], output: x, attributes }, [ts, tg]) => {
    const moved = ts && neg(add(matmul(ts, x), matmul(x, ts)));
    const right = moved && tg ? add(tg, moved) : (moved ?? tg);
    return right && solve(s, right, attributes);
  },
});

function solve(s: Tensor, g: Tensor, options: LyapunovOptions): Tensor {
  return solveLyapunovSync(s, g, options).solution;
}

// S^2 = A: S dS + dS S = dA.
const followSqrt = differentiable<[Tensor], undefined>("matrixSqrt", {
  vjp: ({ output: s }, g) => [solve(s, g, {})],
  jvp: ({ output: s }, [t]) => t && solve(s, t, {}),
});

// T = A^(-1/2): T dT + dT T = -A^-1 dA A^-1, A^-1 = T^2.
const followInverse = differentiable<[Tensor], undefined>("matrixInverseSqrt", {
  vjp: ({ output: t }, g) => {
    const inverse = matmul(t, t);
    return [neg(between(inverse, solve(t, g, {}), inverse))];
  },
  jvp: ({ output: t }, [v]) => {
    if (v === undefined) return undefined;
    const inverse = matmul(t, t);
    return solve(t, neg(between(inverse, v, inverse)), {});
  },
});

/**
 * Square root of a symmetric positive definite matrix: `S S = A`.
 *
 * @param a `[..., n, n]` float32 or float64, symmetric: no |a_ij - a_ji| above 256 eps max |a|. It may be singular to rounding; the
 *   root of 0 is 0. The matrices of a batch are computed side by side.
 * @returns the root (the caller disposes it), its residual and the number of iterations.
 * @throws NumericalError `NOT_POSITIVE_DEFINITE`, `NON_FINITE` (details.index: flat position), `NOT_CONVERGED` (the residual is
 *   above the tolerance; details.residual, details.iterations); ArgumentError when a is not symmetric or an option is wrong;
 *   ShapeError, DTypeError, DeviceError, DisposedError.
 * Sources: Song, Sebe and Wang, 2022; Higham, Functions of matrices, 2008.
 */
export async function matrixSqrt<D extends DType>(
  a: Tensor<D>,
  options: MatrixSqrtOptions & CallOptions = {},
): Promise<MatrixSqrtResult<D>> {
  return await run(matrixSqrtOperation("matrixSqrt", a, false, options), options);
}

/**
 * Like `matrixSqrt`, blocking, and differentiable to any order, for symmetric changes of a. The derivative is that of the exact
 * root whatever the method, by the equation of `solveLyapunov`; it needs a positive definite root.
 */
export function matrixSqrtSync<D extends DType>(
  a: Tensor<D>,
  options: MatrixSqrtOptions = {},
): MatrixSqrtResult<D> {
  const result = runSync(matrixSqrtOperation("matrixSqrtSync", a, false, options));
  followSqrt([a], result.root, undefined);
  return result;
}

/** Inverse square root: `T A T = I`. As `matrixSqrt`, but a must be positive definite. */
export async function matrixInverseSqrt<D extends DType>(
  a: Tensor<D>,
  options: MatrixSqrtOptions & CallOptions = {},
): Promise<MatrixSqrtResult<D>> {
  return await run(matrixSqrtOperation("matrixInverseSqrt", a, true, options), options);
}

/** Like `matrixInverseSqrt`, blocking, and differentiable as `matrixSqrtSync` is. */
export function matrixInverseSqrtSync<D extends DType>(
  a: Tensor<D>,
  options: MatrixSqrtOptions = {},
): MatrixSqrtResult<D> {
  const result = runSync(matrixSqrtOperation("matrixInverseSqrtSync", a, true, options));
  followInverse([a], result.root, undefined);
  return result;
}

/**
 * The solution of `S X + X S = G`, S symmetric positive definite, by the matrix sign iteration: about 5 + 3.4 log10 of the
 * condition number iterations of 10 n^3 flops, 7 n^3 for a symmetric G.
 *
 * @param s `[..., n, n]` float32 or float64, symmetric. @param g of the same shape, dtype and device, symmetric or not.
 * @returns X (the caller disposes it), its residual and the number of iterations.
 * @throws as `matrixSqrt`. Source: Song, Sebe and Wang, 2022.
 */
export async function solveLyapunov<D extends DType>(
  s: Tensor<D>,
  g: Tensor<D>,
  options: LyapunovOptions & CallOptions = {},
): Promise<LyapunovResult<D>> {
  return await run(lyapunovOperation("solveLyapunov", s, g, options), options);
}

/** Like `solveLyapunov`, blocking, and differentiable to any order in both, for symmetric changes of s. */
export function solveLyapunovSync<D extends DType>(
  s: Tensor<D>,
  g: Tensor<D>,
  options: LyapunovOptions = {},
): LyapunovResult<D> {
  const result = runSync(lyapunovOperation("solveLyapunovSync", s, g, options));
  followSolution([s, g], result.solution, options);
  return result;
}
