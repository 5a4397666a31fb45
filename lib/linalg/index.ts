/** Dense linear algebra: matrices in, matrices out. Every function takes a batch, `[..., n, n]`, and has a blocking twin, `xSync`. */
export type { CholeskyOptions, InverseResult, SolveTriangularOptions } from "../ops/cholesky.js";
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
