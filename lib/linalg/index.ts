/**
 * Linear algebra; every function has a blocking twin, `xSync`. Dense: matrices in, matrices out, a batch `[..., n, n]` at once.
 * Matrix-free: Lanczos, conjugate gradients, power iteration and the trace of an operator that only multiplies vectors.
 */
export type { CholeskyOptions, InverseResult, SolveTriangularOptions } from "../ops/cholesky.js";
export type { EighResult } from "../ops/eigh.js";
export type { InverseRootMethod } from "../ops/matrix-inverse-root.js";
export type { MatrixFailure, MatrixReport } from "../ops/matrix-report.js";
export {
  cholesky,
  choleskyInverse,
  choleskyInverseSync,
  choleskySolve,
  choleskySolveSync,
  choleskySync,
  solveTriangular,
  solveTriangularSync,
} from "./cholesky.js";
export type { IterationOptions, LinearOperator, LinearOperatorSync } from "./iteration.js";
export {
  type CgOptions,
  type CgReason,
  type CgResult,
  type PreconditionedOptions,
  cg,
  cgSync,
} from "./cg.js";
export { type LanczosOptions, type LanczosResult, lanczos, lanczosSync } from "./lanczos.js";
export {
  type PowerIterationOptions,
  type PowerIterationResult,
  powerIteration,
  powerIterationSync,
} from "./power-iteration.js";
export { type TraceOptions, type TraceResult, traceEstimate, traceEstimateSync } from "./trace.js";
export { type TridiagonalEigen, tridiagonalEigen } from "./tridiagonal.js";
export { eigh, eighSync } from "./eigh.js";
export {
  matrixInverseRoot,
  matrixInverseRootSync,
  type InverseRootOptions,
  type InverseRootResult,
} from "./matrix-inverse-root.js";
export type { OrthogonalizeOptions, OrthogonalizeResult } from "../ops/orthogonalize.js";
export { orthogonalize, orthogonalizeSync } from "./orthogonalize.js";
export { syrkEma, type SyrkEmaOptions } from "../ops/syrk-ema.js";
export { orthonormalRows } from "../ops/orthonormal-rows.js";
export type {
  LyapunovOptions,
  LyapunovResult,
  MatrixSqrtMethod,
  MatrixSqrtOptions,
  MatrixSqrtResult,
} from "../ops/matrix-sqrt.js";
export {
  matrixInverseSqrt,
  matrixInverseSqrtSync,
  matrixSqrt,
  matrixSqrtSync,
  solveLyapunov,
  solveLyapunovSync,
} from "./matrix-sqrt.js";
