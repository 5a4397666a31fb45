/** Deterministic methods that own the loop: a problem in, a result with trace, evaluations, status and reason out. */
export type {
  Evaluations,
  LeastSquaresProblem,
  Problem,
  SecondOrderProblem,
  SolverOptions,
  SolverResult,
  SolverStatus,
  TracePoint,
  Vector,
} from "./types.js";
export { modelProblem, type ModelProblem } from "./model-problem.js";
export { newton, type NewtonOptions, type NewtonTrace } from "./newton.js";
export type { NewtonStep } from "./newton-steps.js";
export { lazyNewton, type LazyNewtonOptions, type LazyNewtonTrace } from "./lazy-newton.js";
export { trustRegion, type TrustRegionOptions, type TrustRegionTrace } from "./trust-region.js";
export {
  type CgRule,
  nonlinearCG,
  type NonlinearCgOptions,
  type NonlinearCgTrace,
} from "./nonlinear-cg.js";
export {
  levenbergMarquardt,
  type LevenbergMarquardtOptions,
  type LevenbergMarquardtTrace,
} from "./levenberg-marquardt.js";
export { lbfgs, type LbfgsOptions, type LbfgsTrace } from "./lbfgs.js";
export type { CurvatureRule } from "./lbfgs-memory.js";
export type { DampedSolve } from "./damped-step.js";
export type { LineSearch } from "./descend.js";
export type { Precision } from "./precision.js";
